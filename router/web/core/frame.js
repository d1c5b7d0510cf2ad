/** What both views share: the bar at the top, and which view is shown. */

import { html, signal } from "./dom.js";
import { language, words } from "./words.js";

/** @typedef {"playground" | "cockpit"} View */

/** @returns {View} */
const named = () => (location.hash === "#cockpit" ? "cockpit" : "playground");

export const view = signal(named());

/** Show the view that the address names, now and whenever it names another. */
export function followAddress() {
  const shown = () => {
    view.value = named();
    document.documentElement.lang = language;
    document.title = `Pointsman · ${words[view.value]}`;
  };
  addEventListener("hashchange", shown);
  shown();
}

/** @param {{children?: unknown}} props */
export function Bar({ children }) {
  return html`<header class="bar">
    <h1><svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M6 16h8c6 0 5-7 12-7M14 16c6 0 5 7 12 7" /></svg><span>Pointsman</span></h1>
    <nav class="views" aria-label=${words.views}>${/** @type {View[]} */ (["playground", "cockpit"]).map((one) =>
      html`<a href=${`#${one}`} aria-current=${view.value === one ? "page" : undefined}>${words[one]}</a>`)}</nav>
    ${children}
  </header>`;
}
