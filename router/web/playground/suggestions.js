/** Changes of documents that a tool suggests, and the documents as they are now, which such a tool is sent. */

import { html } from "../core/dom.js";
import { words } from "../core/words.js";

/** @typedef {import("../core/dialects.js").Part} Part */

/** Suggestions of an answer that are shown, and documents that are sent: the last ones. */
const MAX_SHOWN = 50;
const MAX_DOCUMENTS = 20;

/** @param {{parts: Part[]}} props */
export function Suggestions({ parts }) {
  const all = parts.flatMap((part) => (part.type === "suggestion" ? [part] : [])).slice(-MAX_SHOWN);
  if (!all.length) return null;
  return html`<section class="suggestions" aria-label=${words.suggestions}><h4>${words.suggestions}</h4>
    <ul>${all.map((one) => html`<li><del>${one.original}</del><ins>${one.suggested}</ins>${one.description && html`<p class="hint">${one.description}</p>`}</li>`)}</ul></section>`;
}

/**
 * The documents of a conversation, each as it was written last: tools that change one find it in the body of a question.
 * @param {{parts: Part[]}[]} messages
 */
export function documents(messages) {
  const found = new Map();
  for (const part of messages.flatMap((one) => one.parts)) {
    if (part.type !== "artifact" || !part.id) continue;
    found.delete(part.id); // the newest stands last
    found.set(part.id, { id: part.id, title: part.title, kind: part.kind, content: part.content });
  }
  return [...found.values()].slice(-MAX_DOCUMENTS);
}
