/** Requests that run and those that were over last, with filters; one of them opens into its waterfall. No words of any conversation. */

import { html, signal } from "../core/dom.js";
import { money, time, Waterfall } from "../core/record.js";
import { words } from "../core/words.js";
import { config, open, opened, requests } from "./state.js";

/** @typedef {import("../core/record.js").RequestRecord} RequestRecord */

const FINE = new Set(["stop", "length", "content-filter", "tool-calls", "other", "unknown", "resumed", "counted", "stop_asked", "nothing_to_resume", "stopped"]);
/** @type {{[name: string]: (one: RequestRecord) => boolean}} */
const KINDS = {
  all: () => true,
  running: (one) => one.running,
  failed: (one) => !one.running && !FINE.has(one.outcome),
  rescued: (one) => one.rescues > 0,
  broken: (one) => one.fault !== null,
  cached: (one) => one.cache === "hit" || one.cache === "shared",
};
const kind = signal("all");
const route = signal("");
const sought = signal("");

function chosen() {
  const text = sought.value.trim().toLowerCase();
  return requests.value.filter(
    (one) =>
      KINDS[kind.value]?.(one) &&
      (!route.value || one.route === route.value) &&
      (!text || [one.request_id, one.caller, one.outcome, ...one.attempts.map((each) => each.target)].some((each) => each.toLowerCase().includes(text))),
  );
}

/** @param {{currentTarget: {value: string}}} event */
const value = (event) => event.currentTarget.value;

export function Requests() {
  const shown = chosen();
  const names = Object.keys(config.value?.declared.routes ?? {});
  return html`<section aria-labelledby="requests"><h2 id="requests">${words.requests}</h2>
    <div class="filters">
      <label class="choice">${words.show}<select id="kind" value=${kind.value} onChange=${(/** @type {any} */ event) => { kind.value = value(event); }}>
        ${Object.keys(KINDS).map((one) => html`<option value=${one}>${words.kinds[/** @type {keyof typeof words.kinds} */ (one)]}</option>`)}</select></label>
      <label class="choice">${words.route}<select value=${route.value} onChange=${(/** @type {any} */ event) => { route.value = value(event); }}>
        <option value="">${words.kinds.all}</option>${names.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <label class="choice">${words.search}<input type="search" id="sought" value=${sought.value} onInput=${(/** @type {any} */ event) => { sought.value = value(event); }} /></label>
    </div>
    <div class="scroller" role="region" tabindex="0" aria-label=${words.requests}><table class="requests">
      <thead><tr>${[words.at, words.route, words.target, words.outcome, words.firstText, words.total, words.tokens, words.cost].map((one) => html`<th scope="col">${one}</th>`)}</tr></thead>
      <tbody>${shown.map((one) => html`<${Row} key=${one.request_id} record=${one} />`)}</tbody>
    </table></div>
    ${!shown.length && html`<p class="empty">${words.noRequests}</p>`}
  </section>`;
}

/** @param {{record: RequestRecord}} props */
function Row({ record }) {
  const wide = opened.value?.request_id === record.request_id ? opened.value : null;
  const bad = KINDS.failed?.(record);
  const at = new Date(record.at * 1000).toLocaleTimeString();
  return html`<tr class=${record.running ? "running" : bad ? "bad" : ""}>
      <td><button type="button" class="link" aria-expanded=${wide ? "true" : "false"} aria-label=${`${at}, ${words.waterfall} ${record.request_id}`}
        onClick=${() => { if (wide) opened.value = null; else void open(record.request_id); }}><time>${at}</time></button></td>
      <td>${record.route}</td><td>${record.target}${record.rescues > 0 && html` <span class="badge">${words.rescued}</span>`}</td>
      <td><code>${record.running ? words.kinds.running : record.outcome}</code></td>
      <td>${time(record.first_token_seconds)}</td><td>${time(record.seconds)}</td>
      <td>${record.input_tokens === null ? "–" : `${record.input_tokens} / ${record.output_tokens}`}</td><td>${money(record.cost_usd)}</td>
    </tr>
    ${wide && html`<tr class="wide"><td colspan="8"><div><${Waterfall} record=${wide} />
      <p class="hint">${wide.request_id}${wide.caller && ` · ${wide.caller}`}${wide.cache && ` · ${words.cache}: ${wide.cache}`}${wide.fault && ` · ${words.fault}: ${wide.fault}`}${wide.reason && ` · ${wide.reason}`}</p></div></td></tr>`}`;
}
