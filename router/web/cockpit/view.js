/** The cockpit: routes and how their targets fare, the last hour, requests, and what an operator may do. */

import { html, useEffect } from "../core/dom.js";
import { Bar } from "../core/frame.js";
import { words } from "../core/words.js";
import { Control, Unlock } from "./control.js";
import { Graphs } from "./graphs.js";
import { Requests } from "./requests.js";
import { Routes } from "./routes.js";
import { config, done, keepLooking, locked, replica, trouble } from "./state.js";

export function Cockpit() {
  useEffect(keepLooking, []);
  return html`<div class="page">
    <${Bar} />
    <main class="cockpit" tabindex="-1">
      ${trouble.value && html`<p class="error banner" role="alert">${trouble.value}</p>`}
      ${locked.value && html`<${Unlock} />`}
      ${replica.value && html`<p class="hint" id="replica">${words.replica(replica.value)}</p>`}
      ${config.value && html`<${Graphs} /><${Routes} /><${Requests} /><${Control} />`}
    </main>
    <p class="unseen" role="status" aria-live="polite">${done.value}</p>
  </div>`;
}
