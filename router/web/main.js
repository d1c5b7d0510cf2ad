/** The page's start: two views, the playground and the cockpit. */

import { html, render } from "./core/dom.js";
import { followAddress, view } from "./core/frame.js";
import { Playground } from "./playground/view.js";
import { start } from "./playground/chat.js";
import { Cockpit } from "./cockpit/view.js";

const VIEWS = { playground: Playground, cockpit: Cockpit };

function Page() {
  return html`<${VIEWS[view.value]} />`;
}

followAddress();
render(html`<${Page} />`, document.body);
void start();
