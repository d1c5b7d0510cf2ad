/** A document that a tool writes beside the answer: a text, code, or a sheet. */

import { html } from "../core/dom.js";
import { Markdown } from "../core/markdown.js";
import { words } from "../core/words.js";
import { artifact } from "./chat.js";
import { CopyButton } from "./message.js";

/** Rows of a sheet that are shown. */
const MAX_ROWS = 500;

export function Document() {
  const part = artifact();
  if (!part) return null;
  const { kind, content, title } = part;
  return html`<div class="document"><h3><span>${title || words.artifact}</span><${CopyButton} text=${() => content} /></h3>
    ${kind === "text" && html`<${Markdown} text=${content} />`}
    ${kind === "sheet" && html`<${Sheet} content=${content} />`}
    ${kind !== "text" && kind !== "sheet" && html`<pre tabindex="0">${content}</pre>`}
  </div>`;
}

/** @param {{content: string}} props */
function Sheet({ content }) {
  const [head = [], ...all] = rows(content);
  const shown = all.slice(0, MAX_ROWS);
  const columns = Math.max(head.length, ...shown.map((row) => row.length));
  const places = Array.from({ length: columns }, (_, at) => at);
  return html`<div class="scroller" role="region" tabindex="0" aria-label=${words.kindOf("sheet")}><table class="sheet">
      <thead><tr>${places.map((at) => html`<th scope="col">${head[at]}</th>`)}</tr></thead>
      <tbody>${shown.map((row) => html`<tr>${places.map((at) => html`<td>${row[at]}</td>`)}</tr>`)}</tbody>
    </table></div>
    ${all.length > MAX_ROWS && html`<p class="hint">${words.rowsOmitted(all.length - MAX_ROWS)}</p>`}`;
}

/**
 * The rows of a text in CSV (RFC 4180). A quote that is not closed, as in a sheet that is still written, ends with the text.
 * @param {string} text
 * @returns {string[][]}
 */
export function rows(text) {
  /** @type {string[][]} */
  const found = [[]];
  const cell = /("(?:[^"]|"")*(?:"|$)|)([^,\r\n]*)(,|\r?\n|$)/g;
  for (const [, quoted = "", rest = "", end = ""] of text.trimEnd().matchAll(cell)) {
    found.at(-1)?.push(quoted.replace(/^"|"$/g, "").replaceAll('""', '"') + rest);
    if (end === "") break;
    if (end !== ",") found.push([]);
  }
  return found;
}
