/** Markdown of a model as safe DOM. What a model writes is never HTML: tags are shown as the text that they are. */

import { copied, html, useLayoutEffect, useRef } from "./dom.js";
import { words } from "./words.js";
import { Marked } from "../vendor/marked.js";
import { DOMPurify } from "./purify.js";

/** @param {string} text */
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    // An image of another host is not loaded: its address could carry the conversation away. It becomes a link.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const PURE = {
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s",
    "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node instanceof HTMLAnchorElement) {
    node.target = "_blank";
    node.rel = "noopener noreferrer nofollow";
  }
});

/**
 * A text in Markdown. Blocks that are whole stay as they are while the last one grows.
 * @param {{text: string}} props
 */
export function Markdown({ text }) {
  return html`<div class="markdown">${marked.lexer(text).map((token, index) => html`<${Block} key=${index} token=${token} />`)}</div>`;
}

/** @param {{token: import("../vendor/marked.js").Token}} props */
function Block({ token }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  // Before the browser paints: no frame shows an empty block.
  useLayoutEffect(() => place.current?.replaceChildren(rendered(token)), [token.raw]);
  return html`<div ref=${place}></div>`;
}

/** @param {import("../vendor/marked.js").Token} token */
function rendered(token) {
  const fragment = DOMPurify.sanitize(marked.parser([token]), { ...PURE, RETURN_DOM_FRAGMENT: true });
  for (const block of fragment.querySelectorAll("pre")) block.append(copyButton(block));
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = document.createElement("div");
    scroller.className = "scroller";
    table.replaceWith(scroller);
    scroller.append(table);
  }
  return fragment;
}

/** @param {HTMLElement} block */
function copyButton(block) {
  const button = document.createElement("button");
  const code = block.textContent ?? "";
  button.type = "button";
  button.className = "copy-code";
  button.textContent = words.copy;
  button.setAttribute("aria-label", words.copyCode);
  button.addEventListener("click", async () => {
    button.textContent = (await copied(code)) ? words.copied : words.failed;
  });
  return button;
}
