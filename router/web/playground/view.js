/** The playground: a route is chosen, questions are asked, and the panel beside them shows how the answers came about. */

import { html, Icon, IconButton, signal, useEffect, useRef } from "../core/dom.js";
import { keepKey, key, keyWanted } from "../core/api.js";
import { Bar } from "../core/frame.js";
import { money } from "../core/record.js";
import { language, words } from "../core/words.js";
import { announced, live, loadRoutes, messages, panel, problem, route, routes, showRescue, startAnew, stop } from "./chat.js";
import { attach, Composer, propose } from "./composer.js";
import { Inspector } from "./inspector.js";
import { Message } from "./message.js";

/** @typedef {import("./chat.js").Route} Route */

const keyShown = signal(false);
const dragging = signal(false);

export function Playground() {
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const pressed = (event) => {
      if (event.key === "Escape" && live.value) stop();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  const asksKey = keyWanted.value || keyShown.value;
  return html`<div class=${panel.value ? "page with-panel" : "page"} onDragOver=${over} onDragLeave=${left} onDrop=${dropped}>
    <${Controls} />
    <main>
      ${asksKey && html`<${KeyForm} />`}
      ${problem.value && !keyWanted.value && html`<p class="error banner" role="alert">${problem.value}</p>`}
      <${Conversation} />
      <${Composer} />
      ${dragging.value && html`<div class="drop">${words.drop}</div>`}
    </main>
    ${panel.value && html`<${Inspector} />`}
    <p class="unseen" role="status" aria-live="polite">${announced.value}</p>
  </div>`;
}

/** @param {DragEvent} event */
function over(event) {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  dragging.value = true;
}

/** @param {DragEvent} event */
function left(event) {
  if (!(event.relatedTarget instanceof Node)) dragging.value = false;
}

/** @param {DragEvent} event */
function dropped(event) {
  event.preventDefault();
  dragging.value = false;
  void attach([...(event.dataTransfer?.files ?? [])]);
}

function Controls() {
  return html`<${Bar}>
    <label class="choice route"><span>${words.route}</span>
      <select id="route" value=${route.value} disabled=${!routes.value.length} onChange=${(/** @type {any} */ event) => { route.value = event.currentTarget.value; }}>
        ${routes.value.map((one) => html`<option value=${one.id}>${inList(one)}</option>`)}
      </select></label>
    <div class="tools">
      <${IconButton} icon="plus" label=${words.newChat} onClick=${startAnew} />
      <${IconButton} icon="key" label=${words.key} pressed=${keyShown.value} onClick=${() => { keyShown.value = !keyShown.value; }} />
      <a class="icon-button" href="docs" title=${words.documentation} aria-label=${words.documentation}><${Icon} name="book" /></a>
      <${IconButton} icon="panel" id="panel" label=${words.details} pressed=${panel.value} onClick=${() => { panel.value = !panel.value; }} />
    </div>
  </${Bar}>`;
}

function KeyForm() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  /** @param {Event} event */
  const taken = (event) => {
    event.preventDefault();
    keepKey(field.current?.value ?? "");
    keyShown.value = false;
    void loadRoutes();
  };
  return html`<form class="key" onSubmit=${taken}>
    ${keyWanted.value && html`<p role="alert">${key.value ? problem.value : words.keyWanted}</p>`}
    <label for="key">${words.key}</label>
    <div class="row"><input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} defaultValue=${key.value} aria-describedby="key-hint" />
      <button type="submit" class="primary">${words.save}</button></div>
    <p class="hint" id="key-hint">${words.keyHint}</p>
  </form>`;
}

function Conversation() {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const following = useRef(true);
  const growing = live.value;
  const all = messages.value;
  useEffect(() => {
    const list = place.current;
    if (list && following.current) list.scrollTop = list.scrollHeight;
  });
  useEffect(() => {
    following.current = true;
  }, [all.length]);
  const scrolled = () => {
    const list = place.current;
    if (list) following.current = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  };
  return html`<section class="conversation" ref=${place} onScroll=${scrolled} tabindex="0" aria-label=${words.playground}>
    <div class="column">
      ${!all.length && !growing ? html`<${Greeting} />` : null}
      ${(growing ? [...all, growing] : all).map((message) => html`<${Message} key=${message.id} message=${message} growing=${message === growing} />`)}
    </div>
  </section>`;
}

function Greeting() {
  const chosen = routes.value.find((one) => one.id === route.value);
  // Scripts alone, and a second one that goes on where the first is broken.
  const demo = routes.value.find((one) => one.scripted && (one.targets?.length ?? 0) > 1);
  return html`<div class="greeting">
    <h2>${words.greeting}</h2>
    <p>${words.greetingHint}</p>
    ${chosen && html`<${Facts} chosen=${chosen} />`}
    <div class="examples">${chosen && words.examples.map((one) => html`<button type="button" onClick=${() => propose(one)}>${one}</button>`)}
      ${demo && html`<button type="button" id="rescue" onClick=${() => showRescue(demo.id, words.rescueQuestion)}>${words.showRescue}</button>`}</div>
  </div>`;
}

/**
 * A route as the list shows it: who answers, and at what price.
 * @param {Route} route
 */
function inList({ id, name, price, scripted }) {
  const more = [name !== id && !scripted ? name : "", price ? `${money(price.input)} / ${money(price.output)}` : ""].filter(Boolean);
  return more.length ? `${id} (${more.join(", ")})` : id;
}

/**
 * What is known of a route: who answers, its tools, and its price.
 * @param {{chosen: Route}} props
 */
function Facts({ chosen }) {
  const { tools = [], targets = [], price, context_window: context } = chosen;
  const codes = (/** @type {string[]} */ names) => names.map((one) => html`<code>${one}</code> `);
  const facts = [
    [words.answeredBy, targets.length > 0 && codes(targets)],
    [words.tools, tools.length > 0 && codes(tools)],
    [words.price, price && words.priceOf(money(price.input), money(price.output))],
    [words.context, context && words.tokensOf(context.toLocaleString(language))],
  ].filter(([, value]) => value);
  return html`<dl class="facts route-facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
