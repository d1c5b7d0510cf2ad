/** Sources of an answer: what its model searched or read. */

import { html, Icon } from "../core/dom.js";
import { words } from "../core/words.js";

/** @typedef {import("../core/dialects.js").Part} Part */
/** @typedef {import("../core/dialects.js").SourcePart} SourcePart */

/** @param {{parts: Part[]}} props */
export function Sources({ parts }) {
  const all = parts.flatMap((part) => (part.type === "source" ? [part] : []));
  const different = all.filter((one, at) => at === all.findIndex((each) => each.url === one.url && each.title === one.title));
  if (!different.length) return null;
  return html`<section class="sources" aria-label=${words.sources}><h4>${words.sources}</h4>
    <ul>${different.map((one) => html`<li><${Source} source=${one} /></li>`)}</ul></section>`;
}

/**
 * A link in a tab of its own, if it is one of the web; else the name alone.
 * @param {{source: SourcePart}} props
 */
function Source({ source }) {
  const address = web(source.url);
  const name = source.title || address?.host || source.url;
  if (!address) return html`<span class="file">${name}</span>`;
  return html`<a class="file" href=${address.href} target="_blank" rel="noopener noreferrer nofollow" title=${address.href}><${Icon} name="link" />${name}</a>`;
}

/**
 * An address of the web; undefined for every other text.
 * @param {string} text
 */
export function web(text) {
  const address = URL.canParse(text) ? new URL(text) : undefined;
  return address?.protocol === "https:" || address?.protocol === "http:" ? address : undefined;
}
