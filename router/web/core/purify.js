/** DOMPurify, which its package ships as a script that sets a global. */

import "../vendor/purify.js";

/** @typedef {import("dompurify").DOMPurify} Purifier */

export const DOMPurify = /** @type {{DOMPurify: Purifier}} */ (/** @type {unknown} */ (globalThis)).DOMPurify;
