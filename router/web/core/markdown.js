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

/** @typedef {{at: number, name: string, label: string}} Mark a place in a text (UTF-16 units before it), the name that is shown there, and what it says */

/** Characters of Unicode's private use that stand for marks while Markdown is read: the first, and how many. */
const FIRST_MARK = 0xe0a0;
const MAX_MARKS = 16;
const MARKS = /[\ue0a0-\ue0af]/g;
const ESCAPED_MARKS = /%EE%82%A[0-9A-F]/gi;

/**
 * A text in Markdown. Blocks that are whole stay as they are while the last one grows.
 * @param {{text: string, marks?: Mark[]}} props
 */
export function Markdown({ text, marks = [] }) {
  return html`<div class="markdown">${marked.lexer(withMarks(text, marks)).map((token, index) =>
    html`<${Block} key=${index} token=${token} marks=${marks} />`)}</div>`;
}

/**
 * The text with a character for each mark, after the last word before it: a line's beginning means something in Markdown.
 * @param {string} text
 * @param {Mark[]} marks
 */
function withMarks(text, marks) {
  let made = text.replace(MARKS, "\ufffd");
  for (const [index, mark] of [...marks.slice(0, MAX_MARKS).entries()].reverse()) {
    const at = made.slice(0, mark.at).trimEnd().length;
    made = made.slice(0, at) + String.fromCharCode(FIRST_MARK + index) + made.slice(at);
  }
  return made;
}

/** @param {{token: import("../vendor/marked.js").Token, marks: Mark[]}} props */
function Block({ token, marks }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  // Before the browser paints: no frame shows an empty block.
  useLayoutEffect(() => place.current?.replaceChildren(rendered(token, marks)), [token.raw, marks.map((mark) => mark.label).join("\n")]);
  return html`<div ref=${place}></div>`;
}

/**
 * @param {import("../vendor/marked.js").Token} token
 * @param {Mark[]} marks
 */
function rendered(token, marks) {
  const fragment = DOMPurify.sanitize(marked.parser([token]), { ...PURE, RETURN_DOM_FRAGMENT: true });
  if (marks.length) showMarks(fragment, marks);
  for (const block of fragment.querySelectorAll("pre")) block.append(copyButton(block));
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = document.createElement("div");
    scroller.className = "scroller";
    table.replaceWith(scroller);
    scroller.append(table);
  }
  return fragment;
}

/**
 * @param {DocumentFragment} fragment
 * @param {Mark[]} marks
 */
function showMarks(fragment, marks) {
  for (const link of fragment.querySelectorAll("a[href]")) {
    link.setAttribute("href", (link.getAttribute("href") ?? "").replace(ESCAPED_MARKS, "").replace(MARKS, ""));
  }
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node instanceof Text && node.data.search(MARKS) >= 0) found.push(node);
  }
  for (const node of found) node.replaceWith(...pieces(node.data, marks));
}

/**
 * A text's pieces, with an element in place of each mark.
 * @param {string} text
 * @param {Mark[]} marks
 */
function pieces(text, marks) {
  return text.split(/([\ue0a0-\ue0af])/).map((piece) => {
    const mark = piece.search(MARKS) < 0 ? undefined : marks[piece.charCodeAt(0) - FIRST_MARK];
    return mark ? seam(mark) : piece;
  });
}

/**
 * Where another target went on. The name is no text of the page: who copies the answer copies nothing of it.
 * @param {Mark} shown
 */
function seam({ name, label }) {
  const mark = document.createElement("span");
  mark.className = "seam";
  mark.title = label;
  mark.dataset.name = name;
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", label);
  return mark;
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
