/** The libraries of the page in one place: JSX without a build step, signals, hooks. */

import { createElement, render } from "../vendor/preact.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/hooks.js";
import { batch, computed, effect, signal } from "../vendor/signals.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(createElement);
export { batch, computed, effect, render, signal, useEffect, useLayoutEffect, useRef, useState };

/** Paths of the icons, drawn with a stroke on a grid of 24. */
const ICONS = {
  send: "M12 19V5M5 12l7-7 7 7",
  stop: "M7 7h10v10H7z",
  attach: "M21 11.5 12.5 20a5.5 5.5 0 0 1-7.8-7.8l8.5-8.5a3.7 3.7 0 0 1 5.2 5.2l-8.5 8.5a1.8 1.8 0 0 1-2.6-2.6L15 7",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  retry: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M5 12l5 5 9-10",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  key: "M12 15a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM10.8 12.2 20 3M16 7l3 3",
  panel: "M4 5h16v14H4zM14 5v14",
  tool: "M14.5 6a4 4 0 0 1 5.3-1L17 8l-1 3 3 1 2.5-2.6A4.5 4.5 0 0 1 15 14l-7 7-3-3 7-7a4.5 4.5 0 0 1 2.5-5z",
  page: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1",
  book: "M5 4h9a4 4 0 0 1 4 4v12H9a4 4 0 0 1-4-4zM5 16a3 3 0 0 1 3-3h10",
};

/**
 * An icon. It says nothing to a screen reader: the button around it has the words.
 * @param {{name: keyof typeof ICONS}} props
 */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

/**
 * A button that shows an icon alone.
 * @param {{icon: keyof typeof ICONS, label: string, onClick: () => void, pressed?: boolean, id?: string, class?: string, disabled?: boolean}} props
 */
export function IconButton({ icon, label, onClick, pressed, id, disabled, ...more }) {
  return html`<button type="button" id=${id} class=${`icon-button ${more.class ?? ""}`} title=${label} aria-label=${label}
    aria-pressed=${pressed} disabled=${disabled} onClick=${onClick}><${Icon} name=${icon} /></button>`;
}

/**
 * Copy a text, and return whether that was allowed. Browsers allow it at loopback and behind TLS alone.
 * @param {string} text
 */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
