/** One message: what was asked, or an answer with its thoughts, tools and errors. */

import { copied, html, Icon, IconButton, signal, useState } from "../core/dom.js";
import { Markdown } from "../core/markdown.js";
import { words } from "../core/words.js";
import { again, decide, inspect, inspectable, live, messages, openArtifact, textOf } from "./chat.js";
import { waits } from "../core/dialects.js";
import { Sources } from "./sources.js";
import { Suggestions } from "./suggestions.js";
import { money } from "../core/record.js";
import { Attached } from "./composer.js";

/**
 * @typedef {import("./chat.js").Message} Msg
 * @typedef {import("../core/dialects.js").ToolPart} ToolPart
 * @typedef {import("../core/dialects.js").ArtifactPart} ArtifactPart
 */

/** @param {{message: Msg, growing?: boolean}} props */
export function Message({ message, growing }) {
  return message.role === "user" ? html`<${Question} message=${message} />` : html`<${Answer} message=${message} growing=${growing} />`;
}

/** @param {{message: Msg}} props */
function Question({ message }) {
  const [editing, edit] = useState(false);
  const [text, write] = useState(textOf(message));
  const done = () => {
    edit(false);
    void again(message, text.trim());
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      edit(false);
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      done();
    }
  };
  const files = message.parts.filter((part) => part.type === "file");
  if (editing) {
    return html`<article class="question editing" aria-label=${words.you}>
      <textarea rows="3" aria-label=${words.edit} value=${text} onKeyDown=${pressed} ref=${(/** @type {any} */ area) => area?.focus()}
        onInput=${(/** @type {any} */ event) => write(event.currentTarget.value)}></textarea>
      <div class="actions"><button type="button" onClick=${() => edit(false)}>${words.cancel}</button>
        <button type="button" class="primary" disabled=${!text.trim()} onClick=${done}>${words.sendAgain}</button></div>
    </article>`;
  }
  return html`<article class="question" aria-label=${words.you}>
    ${files.map((file) => html`<${Attached} file=${file} />`)}
    ${textOf(message) && html`<div class="bubble">${textOf(message)}</div>`}
    <div class="actions">
      <${IconButton} icon="edit" class="small" label=${words.edit} disabled=${live.value !== null} onClick=${() => { write(textOf(message)); edit(true); }} />
      <${CopyButton} text=${() => textOf(message)} />
    </div>
  </article>`;
}

/** @param {{message: Msg, growing?: boolean}} props */
function Answer({ message, growing }) {
  const { parts, error, note } = message;
  const visible = parts.filter((part) => part.type !== "step");
  const last = visible.at(-1);
  const marks = marksOf(message);
  return html`<article class=${growing ? "answer growing" : "answer"} aria-label=${message.route ?? ""} aria-busy=${growing ? "true" : "false"}>
    <header class="by">${message.route}</header>
    ${visible.map((part, index) => {
      if (part.type === "text") return html`<${Markdown} key=${index} text=${part.text} marks=${marks.get(part)} />`;
      if (part.type === "reasoning") return html`<${Thoughts} key=${index} text=${part.text} growing=${growing && part === last} />`;
      if (part.type === "tool") return html`<${Tool} key=${part.id} part=${part} message=${message} growing=${growing} />`;
      if (part.type === "artifact") return html`<${Artifact} key=${index} part=${part} message=${message} growing=${growing} />`;
      if (part.type === "file") return html`<${Attached} key=${index} file=${part} />`;
      return null;
    })}
    <${Suggestions} parts=${visible} />
    <${Sources} parts=${visible} />
    ${growing && !visible.length && html`<p class="waiting">${words.waiting}</p>`}
    ${note && html`<p class="note">${note}</p>`}
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${!growing && html`<div class="actions">
      <${IconButton} icon="retry" class="small" label=${words.retry} disabled=${live.value !== null} onClick=${() => again(message)} />
      ${textOf(message) && html`<${CopyButton} text=${() => textOf(message)} />`}
      ${inspectable(message) && html`<${IconButton} icon="panel" class="small" label=${words.details} onClick=${() => inspect(message)} />`}
      ${message.usage && html`<span class="usage">${words.tokensInOut(message.usage.input, message.usage.output)}${message.cost ? ` · ${money(message.cost)}` : ""}</span>`}
    </div>`}
  </article>`;
}

/**
 * Where in each part of the text another target went on. The server counts code points over the whole answer.
 * @param {Msg} message
 * @returns {Map<object, import("../core/markdown.js").Mark[]>}
 */
function marksOf({ parts, seams = [] }) {
  const found = new Map();
  if (!seams.length) return found;
  let before = 0;
  for (const part of parts) {
    if (part.type !== "text") continue;
    const characters = [...part.text];
    const here = seams.filter((one) => one.after_characters > before && one.after_characters <= before + characters.length);
    const start = before;
    found.set(part, here.map((one) => ({ at: characters.slice(0, one.after_characters - start).join("").length, name: one.to, label: words.joinedHere(one.to, one.from) })));
    before += characters.length;
  }
  return found;
}

/** @param {{text: string, growing?: boolean}} props */
function Thoughts({ text, growing }) {
  return html`<details class="fold thoughts">
    <summary>${growing ? words.thinking : words.thoughts}</summary>
    <${Markdown} text=${text} />
  </details>`;
}

/** @param {{part: ToolPart, message: Msg, growing?: boolean}} props */
function Tool({ part, message, growing }) {
  const failed = part.error !== undefined;
  const done = failed || part.output !== undefined;
  const asks = waits(part);
  const denied = part.approval?.approved === false;
  const state = failed ? words.failed : done ? words.called : asks ? words.undecided : denied ? words.denied : growing ? words.calling : "";
  const output = failed ? part.error : pretty(done ? part.output : part.progress);
  const input = part.input === undefined ? part.written : pretty(part.input);
  const decidable = asks && !growing && live.value === null && messages.value.at(-1) === message;
  return html`<details class=${`fold tool ${failed || denied ? "failed" : done ? "done" : asks ? "asking" : "running"}`} open=${asks || (growing && !done)}>
    <summary><${Icon} name="tool" /><code>${part.name}</code><span class="brief">${brief(part.input)}</span><span class="state">${state}</span></summary>
    <h4>${words.input}</h4><pre>${input}</pre>
    ${(done || part.progress !== undefined) && html`<h4>${words.output}</h4><pre>${output}</pre>`}
    ${decidable && html`<${Decision} part=${part} message=${message} />`}
  </details>`;
}

/** @param {{part: ToolPart, message: Msg}} props */
function Decision({ part, message }) {
  /** @param {boolean} approved */
  const decided = (approved) => {
    decide(message, part.id, approved);
    document.getElementById("question")?.focus(); // the buttons go
  };
  return html`<div class="decision" role="group" aria-label=${words.mayRun(part.name)}>
    <p>${words.mayRun(part.name)}</p>
    <button type="button" class="primary" onClick=${() => decided(true)}>${words.approve}</button>
    <button type="button" class="plain" onClick=${() => decided(false)}>${words.deny}</button>
  </div>`;
}

/** @param {{part: ArtifactPart, message: Msg, growing?: boolean}} props */
function Artifact({ part, message, growing }) {
  const state = part.done || !growing ? words.kindOf(part.kind) : words.writing;
  return html`<button type="button" class="artifact-card" onClick=${() => openArtifact(message.id, message.parts.indexOf(part))}>
    <${Icon} name="page" /><span><strong>${part.title || words.artifact}</strong><small>${state}</small></span></button>`;
}

/** @param {unknown} value */
function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/**
 * The arguments of a call in one line.
 * @param {unknown} input
 */
function brief(input) {
  if (typeof input !== "object" || input === null) return "";
  return Object.values(input).map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ").slice(0, 80);
}

/** What the last copying came to, for screen readers too. */
const outcome = signal("");

/** @param {{text: () => string}} props */
export function CopyButton({ text }) {
  const [done, mark] = useState(false);
  const copy = async () => {
    const allowed = await copied(text());
    outcome.value = allowed ? words.copied : words.notCopied;
    mark(allowed);
    setTimeout(() => mark(false), 1500);
  };
  return html`<${IconButton} icon=${done ? "done" : "copy"} class="small" label=${done ? words.copied : words.copy} onClick=${copy} />`;
}
