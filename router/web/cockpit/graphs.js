/** Small charts of the last hour. */

import { html } from "../core/dom.js";
import { money } from "../core/record.js";
import { words } from "../core/words.js";
import { hour } from "./state.js";

/** @typedef {import("./state.js").Slot} Slot */

const HEIGHT = 30;

/**
 * @param {Slot[]} slots
 * @param {(slot: Slot) => number} of
 */
const sum = (slots, of) => slots.reduce((total, slot) => total + of(slot), 0);

/** @param {number} count */
const short = (count) => (count < 10_000 ? String(Math.round(count)) : `${(count / 1000).toFixed(count < 100_000 ? 1 : 0)}k`);

export function Graphs() {
  const known = hour.value;
  if (!known) return null;
  const { slots, slot_seconds } = known;
  const minute = 60 / slot_seconds;
  const hits = sum(slots, (slot) => slot.cache_hits);
  const asked = sum(slots, (slot) => slot.cache_asked);
  const cards = [
    { name: words.openStreams, of: (/** @type {Slot} */ slot) => slot.open, value: short(slots.at(-1)?.open ?? 0) },
    { name: words.answersPerMinute, of: (/** @type {Slot} */ slot) => slot.answers, value: short(sum(slots.slice(-minute), (slot) => slot.answers)) },
    { name: words.failures, of: (/** @type {Slot} */ slot) => slot.failures, value: short(sum(slots, (slot) => slot.failures)) },
    { name: words.rescues, of: (/** @type {Slot} */ slot) => slot.rescues, value: short(sum(slots, (slot) => slot.rescues)) },
    { name: words.tokens, of: tokens, value: short(sum(slots, tokens)) },
    { name: words.cost, of: (/** @type {Slot} */ slot) => slot.cost_usd, value: money(sum(slots, (slot) => slot.cost_usd)) },
    { name: words.cacheHits, of: (/** @type {Slot} */ slot) => slot.cache_hits, value: asked ? `${Math.round((hits / asked) * 100)} %` : "–" },
  ];
  return html`<section aria-labelledby="hour"><h2 id="hour">${words.lastHour}</h2>
    <ul class="graphs">${cards.map(({ name, of, value }) => html`<li><h3>${name}</h3><strong>${value}</strong><${Graph} values=${slots.map(of)} name=${name} /></li>`)}</ul>
  </section>`;
}

/** @param {Slot} slot */
const tokens = (slot) => slot.input_tokens + slot.output_tokens;

/** @param {{values: number[], name: string}} props */
function Graph({ values, name }) {
  const most = Math.max(...values, 0);
  const top = most || 1;
  const points = values.map((value, at) => `${at},${(HEIGHT - (value / top) * (HEIGHT - 2)).toFixed(1)}`).join(" ");
  const last = values.length - 1;
  return html`<svg class="graph" viewBox=${`0 0 ${last} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${words.graph(name, String(+most.toPrecision(3)))}>
    <polygon points=${`0,${HEIGHT} ${points} ${last},${HEIGHT}`} /><polyline points=${points} /></svg>`;
}
