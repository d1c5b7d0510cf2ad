/** The side panel: how an answer came about, its bytes, and the question as code. */

import { html, IconButton } from "../core/dom.js";
import { DIALECTS } from "../core/dialects.js";
import { money, time as seconds, Waterfall } from "../core/record.js";
import { words } from "../core/words.js";
import { artifact, dialect, panel, shown, tab, ticks } from "./chat.js";
import { Document } from "./document.js";
import { copies } from "./copies.js";
import { CopyButton } from "./message.js";

/** @typedef {import("./trace.js").Trace} Trace */

const TABS = /** @type {const} */ (["timeline", "bytes", "copyAs"]);
const VIEWS = { artifact: Document, timeline: Timeline, bytes: Bytes, copyAs: Copies };
/** Pieces that are shown at once. */
const MAX_ROWS = 300;

/** Close the panel, and give the focus back to the button that opens it. */
function close() {
  panel.value = false;
  document.getElementById("panel")?.focus();
}

export function Inspector() {
  const tabs = artifact() ? /** @type {const} */ (["artifact", ...TABS]) : TABS;
  const chosen = tabs.find((one) => one === tab.value) ?? "timeline";
  /** @param {KeyboardEvent} event */
  const moved = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.findIndex((one) => one === chosen) + by + tabs.length) % tabs.length] ?? "timeline";
    tab.value = next;
    document.getElementById(`tab-${next}`)?.focus();
  };
  /** @param {KeyboardEvent} event */
  const left = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  const View = VIEWS[chosen];
  return html`<aside class="inspector" id="details" aria-label=${words.details} onKeyDown=${left}>
    <div class="tabs">
      <div role="tablist" aria-label=${words.details} onKeyDown=${moved}>
        ${tabs.map((name) => html`<button type="button" role="tab" id=${`tab-${name}`} aria-selected=${chosen === name ? "true" : "false"}
          aria-controls="tab-panel" tabindex=${chosen === name ? 0 : -1} onClick=${() => { tab.value = name; }}>${words[name]}</button>`)}
      </div>
      <${IconButton} icon="close" label=${words.close} onClick=${close} />
    </div>
    <div role="tabpanel" id="tab-panel" aria-labelledby=${`tab-${chosen}`} tabindex="0"><${View} /></div>
  </aside>`;
}

/** @param {number | undefined} ms */
const time = (ms) => (ms === undefined ? "–" : seconds(ms / 1000));

function Timeline() {
  void ticks.value;
  const trace = shown.value;
  if (!trace) return html`<p class="empty">${words.noAnswerYet}</p>`;
  const { headers, record } = trace;
  const guessed = record?.estimated ? ` (${words.partlyEstimated})` : "";
  const facts = [
    [words.target, record?.target ?? headers["x-router-target"]],
    [words.fault, headers["x-router-fault"]],
    [words.cache, headers["x-router-cache"]],
    [words.tokens, record?.input_tokens === null || !record ? "" : words.tokensInOut(record.input_tokens, record.output_tokens ?? 0) + guessed],
    [words.cost, record && record.cost_usd !== null ? money(record.cost_usd) + guessed : ""],
    [words.requestId, headers["x-request-id"]],
    [words.generation, headers["x-router-generation"]],
    [words.dialect, trace.dialect],
    [words.total, words.chunks(trace.count, trace.bytes)],
  ].filter(([, value]) => value);
  return html`<div>
    ${record ? html`<h3>${words.targets}</h3><${Waterfall} record=${record} />` : html`<${Tried} trace=${trace} />`}
    <h3>${words.timeline}</h3>
    <${Bars} trace=${trace} />
    <dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
  </div>`;
}

/**
 * The targets as the headers name them, while the answer comes in: the one that speaks has no outcome by then.
 * @param {{trace: Trace}} props
 */
function Tried({ trace }) {
  const target = trace.headers["x-router-target"];
  const tried = [...trace.attempts];
  if (target && tried.at(-1)?.outcome !== "ok") tried.push({ name: target, outcome: "", seconds: undefined, wait: undefined });
  if (!tried.length) return null;
  return html`<h3>${words.targets}</h3><ol class="attempts">${tried.map((one) => html`<li class=${one.outcome === "ok" || one.outcome === "" ? "good" : "bad"}>
    <span class="name">${one.name}</span><code>${one.outcome || words.answers}</code>
    <span class="seconds">${one.seconds === undefined ? "" : time(one.seconds * 1000)}${one.wait ? ` · ${words.waits(one.wait)}` : ""}</span>
  </li>`)}</ol>`;
}

/** @param {{trace: Trace}} props */
function Bars({ trace }) {
  const latest = Math.max(trace.end ?? 0, trace.text ?? 0, trace.head ?? 0, trace.pieces.at(-1)?.at ?? 0, 1);
  const rows = /** @type {const} */ ([
    [words.firstByte, 0, trace.head],
    [words.firstText, trace.head ?? 0, trace.text],
    [words.end, trace.text ?? trace.head ?? 0, trace.end],
  ]);
  return html`<table class="bars"><tbody>${rows.map(([name, from, to]) => html`<tr>
    <th scope="row">${name}</th>
    <td><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">${to !== undefined &&
    html`<rect x=${(from / latest) * 100} y="1" width=${Math.max(0.8, ((to - from) / latest) * 100)} height="6" rx="1" />`}</svg></td>
    <td class="seconds">${time(to)}</td>
  </tr>`)}</tbody></table>
  <svg class="pieces" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">${trace.pieces.slice(-MAX_ROWS).map((piece) =>
    html`<line x1=${(piece.at / latest) * 100} x2=${(piece.at / latest) * 100} y1="1" y2="9" />`)}</svg>`;
}

function Bytes() {
  void ticks.value;
  const trace = shown.value;
  const rows = trace?.pieces.slice(-MAX_ROWS) ?? [];
  const left = (trace?.count ?? 0) - rows.length;
  return html`<div>
    <label class="choice">${words.dialect}
      <select value=${dialect.value} onChange=${(/** @type {any} */ event) => { dialect.value = event.currentTarget.value; }}>
        ${DIALECTS.map((name) => html`<option value=${name}>${name}</option>`)}
      </select></label>
    <p class="hint">${words.dialectHint}</p>
    ${!trace && html`<p class="empty">${words.noAnswerYet}</p>`}
    ${left > 0 && html`<p class="hint">${words.omitted(left)}</p>`}
    <ol class="raw">${rows.map((piece) => html`<li><time>${time(piece.at)}</time><pre>${piece.text}</pre></li>`)}</ol>
  </div>`;
}

function Copies() {
  return html`<div>${copies().map(({ name, code }) => html`<section class="code" key=${name}>
    <h3>${name}<${CopyButton} text=${() => code} /></h3><pre tabindex="0">${code}</pre>
  </section>`)}</div>`;
}
