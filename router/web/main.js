/** The page's start: one view today, the playground. The cockpit will be a second one beside it. */

import { html, render } from "./core/dom.js";
import { language, words } from "./core/words.js";
import { Playground } from "./playground/view.js";
import { start } from "./playground/chat.js";

document.documentElement.lang = language;
document.title = `Pointsman · ${words.playground}`;
render(html`<${Playground} />`, document.body);
void start();
