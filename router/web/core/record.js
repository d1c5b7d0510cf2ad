/** What the server remembers of one request that is over, and pictures of it. docs/operations.md has every field. */

import { html } from "./dom.js";
import { words } from "./words.js";

/**
 * @typedef {{
 *   target: string, outcome: string, seconds: number, began_seconds: number, first_token_seconds?: number, retry_after_seconds?: number,
 *   input_tokens?: number, output_tokens?: number, cost_usd?: number, estimated?: boolean,
 * }} Attempt
 * @typedef {{tool: string, seconds: number | null, is_error: boolean, began_seconds: number}} Run
 * @typedef {{after_characters: number, from: string, to: string}} Seam
 * @typedef {{
 *   request_id: string, at: number, running: boolean, route: string, status: number, outcome: string, reason: string | null, target: string,
 *   cache: string | null, fault: string | null, steps: number, tools: Run[], attempts: Attempt[], rescues: number, seams: Seam[],
 *   input_tokens: number | null, output_tokens: number | null, cost_usd: number | null, estimated: boolean,
 *   first_token_seconds: number | null, seconds: number, caller: string, generation: string,
 * }} RequestRecord
 */

/**
 * A time as people read it.
 * @param {number | null | undefined} seconds
 */
export function time(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`;
}

/**
 * US dollars as people read them: small sums with two digits that say something.
 * @param {number | null | undefined} dollars
 */
export function money(dollars) {
  if (dollars === null || dollars === undefined) return "–";
  if (dollars === 0) return "$0";
  return `$${dollars >= 0.01 ? dollars.toFixed(2) : dollars.toPrecision(2).replace(/e-(\d+)/, "×10⁻$1")}`;
}

/**
 * The tries and tools of a request, each as a bar on the request's time. The light part of a try is the wait for its first word.
 * @param {{record: RequestRecord}} props
 */
export function Waterfall({ record }) {
  const { attempts, tools, seams } = record;
  const rows = [
    ...attempts.map((one) => ({ kind: one.outcome === "ok" ? "good" : "bad", name: one.target, note: noteOf(one), from: one.began_seconds, first: one.first_token_seconds, took: one.seconds })),
    ...tools.map((one) => ({ kind: one.is_error ? "bad tooled" : "tooled", name: one.tool, note: one.is_error ? words.failed : "", from: one.began_seconds, first: undefined, took: one.seconds ?? 0 })),
  ].sort((one, other) => one.from - other.from);
  const whole = Math.max(record.seconds, ...rows.map((row) => row.from + row.took), 0.001);
  const x = (/** @type {number} */ seconds) => (seconds / whole) * 100;
  return html`<ol class="waterfall">${rows.map((row) => html`<li class=${row.kind}>
      <span class="name">${row.name}</span><code>${row.note}</code><span class="seconds">${time(row.took)}</span>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="ground" width="100" height="8" />
        <rect class="took" x=${x(row.from)} y="1" width=${Math.max(0.6, x(row.took))} height="6" />
        ${row.first !== undefined && html`<rect class="wait" x=${x(row.from)} y="1" width=${Math.max(0.3, x(row.first))} height="6" />`}</svg>
    </li>`)}</ol>
    ${seams.map((one) => html`<p class="seam-note">${words.joined(one.to, one.from, one.after_characters)}</p>`)}`;
}

/** @param {Attempt} attempt */
function noteOf(attempt) {
  const wait = attempt.retry_after_seconds === undefined ? "" : ` · ${words.waits(attempt.retry_after_seconds.toFixed(1))}`;
  return `${attempt.outcome || words.answers}${wait}`;
}
