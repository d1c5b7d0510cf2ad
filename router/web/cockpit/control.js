/** What an operator does: the admin key, the edit that is not served yet, the way back, drills. */

import { html, useRef } from "../core/dom.js";
import { adminKey } from "../core/api.js";
import { words } from "../core/words.js";
import { acting, done, drill, drills, edit, goBack, lookAtEdit, reload, unlock } from "./state.js";

/** The field for the admin key. It stays in the memory of this page. */
export function Unlock() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {Event} event */
  const taken = (event) => {
    event.preventDefault();
    void unlock(field.current?.value ?? "");
  };
  return html`<form class="key" onSubmit=${taken}>
    <label for="admin-key">${words.adminKey}</label>
    <div class="row"><input id="admin-key" ref=${field} type="password" autocomplete="off" spellcheck=${false} aria-describedby="admin-key-hint" />
      <button type="submit" class="primary">${words.unlock}</button></div>
    <p class="hint" id="admin-key-hint">${words.adminKeyHint}</p>
  </form>`;
}

export function Control() {
  const busy = acting.value !== "";
  return html`<section aria-labelledby="control"><h2 id="control">${words.control}</h2>
    ${!adminKey.value && html`<p class="hint">${words.controlHint}</p><${Unlock} />`}
    ${done.value && html`<p class="came">${done.value}</p>`}
    <${Pending} />
    ${adminKey.value && html`<div class="buttons">
      <button type="button" class="primary" id="reload" disabled=${busy || !edit.value?.files} onClick=${reload}>${words.reload}</button>
      <button type="button" class="plain" id="return" disabled=${busy || !edit.value?.previous} onClick=${goBack}>${words.goBack}</button>
      <button type="button" class="plain" id="drills" disabled=${busy} onClick=${drill}>${acting.value === "drills" ? words.drilling : words.runDrills}</button>
    </div>`}
    ${drills.value && html`<ol class="drills">${drills.value.map((one) => html`<li class=${one.faults.length ? "bad" : "good"}>
      <strong>${one.name}</strong> <span class="hint">${one.tried.join(", ")} · ${one.seconds.toFixed(1)} s</span>
      ${one.faults.map((fault) => html`<p>${fault}</p>`)}</li>`)}</ol>`}
  </section>`;
}

function Pending() {
  const known = edit.value;
  if (!known?.files) return null;
  return html`<div class="pending"><h3>${words.pendingEdit} <button type="button" class="link" onClick=${lookAtEdit}>${words.lookAgain}</button></h3>
    ${known.complaints.length > 0 && html`<p class="error">${words.cannotServe}</p>${known.complaints.map((one) => html`<pre tabindex="0">${one.text}</pre>`)}`}
    ${known.changes.length > 0 && html`<ul>${known.changes.map((one) => html`<li>${one}</li>`)}</ul>`}
    ${!known.changes.length && !known.complaints.length && html`<p class="empty">${words.nothingPending}</p>`}
  </div>`;
}
