/** Each route as a diagram: its pools of targets in the order in which they are asked, and how each target fares. */

import { html } from "../core/dom.js";
import { adminKey } from "../core/api.js";
import { money, time } from "../core/record.js";
import { words } from "../core/words.js";
import { acting, budgets, config, hour, place, targets } from "./state.js";

/** @typedef {import("./state.js").Entry} Entry */

export function Routes() {
  const live = config.value;
  if (!live) return null;
  return html`<section aria-labelledby="routes"><h2 id="routes">${words.routes}</h2>
    ${Object.entries(live.declared.routes).map(([name, route]) => html`<article class="way" key=${name} aria-label=${name}>
      <h3>${name}${route.aliases.length > 0 && html` <small>${route.aliases.join(", ")}</small>`}</h3>
      ${budgets.value.filter((one) => one.routes === null || one.routes.includes(name)).map((one) => html`<${Spent} budget=${one} />`)}
      <ol class="pools">${route.targets.map((pool) => html`<li><ul class="pool">${pool.map((entry) => html`<${Card} entry=${entry} />`)}</ul></li>`)}</ol>
    </article>`)}
  </section>`;
}

/**
 * How much of a limit on tokens or money is used; where it counts each user or address by itself, by how many, and the most by one of them.
 *
 * @param {{budget: import("./state.js").Budget}} props
 */
function Spent({ budget: { most, limit, caller, used, subjects, largest } }) {
  if (used !== null) return html`<p class="hint">${words.budget(most, limit, caller, used)}</p>`;
  return subjects !== null && html`<p class="hint">${words.budgetOfEach(most, limit, caller, subjects, largest ?? 0)}</p>`;
}

/** @param {{entry: Entry}} props */
function Card({ entry }) {
  const name = typeof entry === "string" ? entry : (entry.use ?? "");
  const known = targets.value.find((one) => one.name === name);
  const why = config.value?.skipped[name];
  if (!known) return html`<li class="card skipped"><strong>${name}</strong><span class="badge">${words.skipped}</span>${why && html`<p class="hint">${why}</p>`}</li>`;
  const fared = hour.value?.targets[name];
  const off = known.state !== "auto";
  const state = off ? known.state : known.breaker;
  const facts = [
    [words.load, String(known.busy)],
    ["p50", time(fared?.first_token_p50)],
    ["p95", time(fared?.first_token_p95)],
    [words.failed, fared?.failure_rate == null ? "–" : `${(fared.failure_rate * 100).toFixed(fared.failure_rate < 0.1 ? 1 : 0)} %`],
    [words.cost, money(fared?.cost_usd)],
  ];
  const condition = typeof entry === "string" ? "" : [entry.weight === undefined ? "" : `× ${entry.weight}`, entry.when ? words.onCondition : ""].filter(Boolean).join(" · ");
  return html`<li class=${`card ${off ? "off" : known.breaker}`}>
    <strong>${name}</strong><span class="badge" title=${words.breakerHint}>${words.states[state]}${known.retry_in ? ` ${time(known.retry_in)}` : ""}</span>
    ${condition && html`<p class="hint">${condition}</p>`}
    <dl>${facts.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
    ${known.refusing && html`<p class="hint bad">${words.refuses}: ${known.refusing.reason}</p>`}
    ${known.learned.map((one) => html`<p class="hint">${one}</p>`)}
    ${adminKey.value && html`<button type="button" class="plain" disabled=${acting.value !== ""} aria-label=${`${off ? words.restore : words.drain}: ${name}`}
      onClick=${() => place(name, off ? "auto" : "drain")}>${off ? words.restore : words.drain}</button>`}
  </li>`;
}
