/** The conversation: its state, and everything that changes it. */

import { batch, signal } from "../core/dom.js";
import { adminKey, ask, Missing, Problem } from "../core/api.js";
import { DIALECTS, draft, reader, uiMessage, waits } from "../core/dialects.js";
import { words } from "../core/words.js";
import { documents } from "./suggestions.js";
import { headed, read, since, traced } from "./trace.js";

/**
 * @typedef {import("../core/dialects.js").Part} Part
 * @typedef {import("../core/dialects.js").Usage} Usage
 * @typedef {import("../core/dialects.js").ArtifactPart} ArtifactPart
 * @typedef {import("./trace.js").Trace} Trace
 * @typedef {import("../core/record.js").RequestRecord} RequestRecord
 * @typedef {import("../core/record.js").Seam} Seam
 * @typedef {{
 *   id: string, role: "user" | "assistant", parts: Part[], route?: string, note?: string, error?: string, usage?: Usage, seams?: Seam[],
 *   cost?: number | null, earlier?: Message,
 * }} Message `earlier`: the answer before it went on with what its user had decided
 * @typedef {{input: number, output: number}} Price US dollars for a million tokens
 * @typedef {{
 *   id: string, aliases?: string[], tools?: string[], reasoning?: string, scripted?: boolean, targets?: string[], name?: string, price?: Price | null,
 *   context_window?: number | null, input_modalities?: string[],
 * }} Route
 */

/** Ways in which the provider of one request is broken on purpose. */
export const FAULTS = /** @type {const} */ (["cut", "stall", "429", "garbage"]);
/** Waits before the record of an answer is asked for, in milliseconds: the server writes it when the last byte has left, or later. */
const RECORD_WAITS_MS = [0, 150, 400, 1000, 3000, 9000];

const SAVED = "pointsman.chat";
/** The release of the AI SDK whose frames this page reads: those of approvals are among them. */
const MIN_CLIENT = "6.0";
/** Screens that have room for a document beside the conversation. */
const WIDE = "(min-width: 56.01rem)";
const MAX_SAVED = 2_000_000;
/** How long a stopped answer may take to end in order. */
const STOP_PATIENCE_MS = 2000;
/** Why an answer ended early, where that is worth a sentence. */
const REASONS = /** @type {Record<string, string>} */ ({
  length: words.length,
  "content-filter": words.contentFilter,
  "tool-calls": words.toolCalls,
  other: words.stopped,
});

export const routes = signal(/** @type {Route[]} */ ([]));
export const route = signal("");
export const messages = signal(/** @type {Message[]} */ ([]));
/** The answer that comes in; null while none does. */
export const live = signal(/** @type {Message | null} */ (null));
/** An error that belongs to no answer. */
export const problem = signal("");
/** For screen readers: what just happened. */
export const announced = signal("");
/** How the provider of the next question is broken; empty where it is not. */
export const fault = signal("");
export const dialect = signal(/** @type {string} */ (DIALECTS[0]));
export const panel = signal(false);
/** What the panel shows. */
export const tab = signal(/** @type {"timeline" | "bytes" | "copyAs" | "artifact"} */ ("timeline"));
/** The document that the panel shows: its answer, and its place among the answer's parts. */
export const opened = signal(/** @type {{message: string, at: number} | null} */ (null));
/** The answer whose details are shown, and a number that grows with each of its pieces. */
export const shown = signal(/** @type {Trace | null} */ (null));
export const ticks = signal(0);

/** @type {Map<string, Trace>} */
const traces = new Map();
let chat = newId();
let leave = new AbortController();
/** Whether the reader has stopped the answer that comes in. */
let stopping = false;
/** Whether the page is being left. The browser ends its requests then: what that looks like is not kept. */
let gone = false;

/** An id that nobody guesses: whoever has it may find the answer again. Also where there is no crypto.randomUUID (plain HTTP). */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");
}

/** Load the routes, and what this tab had before it was loaded anew. */
export async function start() {
  restore();
  globalThis.addEventListener("pagehide", () => {
    save();
    gone = true;
  });
  globalThis.addEventListener("pageshow", () => {
    gone = false; // it may come back as it was
  });
  const left = live.value;
  await loadRoutes();
  // An answer that has begun since is not one that was left.
  if (left && live.value === left) await resume(left);
}

export async function loadRoutes() {
  try {
    const response = await ask("api/models");
    const { models } = await response.json();
    batch(() => {
      routes.value = models;
      problem.value = models.length ? "" : words.noRoutes;
      if (!models.some((/** @type {Route} */ one) => one.id === route.value)) route.value = models[0]?.id ?? "";
    });
  } catch (error) {
    routes.value = [];
    problem.value = inWords(error);
  }
}

/** @param {unknown} error */
function inWords(error) {
  return error instanceof Problem ? error.message : words.brokenOff;
}

/**
 * Ask.
 * @param {Part[]} parts
 */
export async function send(parts) {
  messages.value = [...messages.value, { id: newId(), role: "user", parts }];
  await answer();
}

/**
 * Ask again from a message on: an answer is made anew, a question is asked in other words.
 * @param {Message} message
 * @param {string} [text]
 */
export async function again(message, text) {
  if (live.value) return;
  const place = messages.value.indexOf(message);
  const kept = messages.value.slice(0, place);
  if (message.role === "user") {
    const files = message.parts.filter((part) => part.type === "file");
    kept.push({ ...message, parts: [...files, { type: "text", text: text ?? textOf(message) }] });
  }
  messages.value = kept;
  await answer();
}

/**
 * Allow a call or deny it. The answer goes on once all of its calls are decided.
 * @param {Message} message
 * @param {string} call
 * @param {boolean} approved
 */
export function decide(message, call, approved) {
  if (live.value) return;
  const parts = message.parts.map((part) =>
    part.type === "tool" && part.id === call && part.approval ? { ...part, approval: { ...part.approval, approved } } : part,
  );
  const decided = { ...message, parts };
  messages.value = messages.value.map((one) => (one === message ? decided : one));
  announced.value = approved ? words.allowed : words.denied;
  save();
  if (!parts.some(waits)) void goOn(decided);
}

/**
 * Go on with the last answer: the server runs what was allowed, and asks the model again. Approvals are good for the route that asked.
 * @param {Message} message
 */
async function goOn(message) {
  const asked = JSON.stringify({ ...body(), model: message.route ?? route.value });
  messages.value = messages.value.filter((one) => one.id !== message.id);
  await follow({ id: message.id, role: "assistant", parts: message.parts, route: message.route, earlier: message }, DIALECTS[0], (signal) =>
    post(asked, DIALECTS[0], signal),
  );
}

/** The document that the panel shows, as far as it is written; undefined where there is none. */
export function artifact() {
  const { message, at } = opened.value ?? {};
  const all = live.value ? [...messages.value, live.value] : messages.value;
  const part = all.find((one) => one.id === message)?.parts[at ?? -1];
  return part?.type === "artifact" ? part : undefined;
}

/**
 * Show a document beside the conversation.
 * @param {string} message
 * @param {number} at its place among the message's parts
 */
export function openArtifact(message, at) {
  batch(() => {
    opened.value = { message, at };
    tab.value = "artifact";
    panel.value = true;
  });
}

/** @param {Message} message */
export function textOf(message) {
  return message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
}

/** End the answer, here and at the server. */
export function stop() {
  const ending = leave;
  stopping = true;
  const left = () => ending.abort(); // where another replica answers, or the server cannot be reached, leaving ends the answer
  ask(`api/chat/${encodeURIComponent(chat)}/stop`, { method: "POST" }).then(() => setTimeout(left, STOP_PATIENCE_MS), left);
}

export function startAnew() {
  leave.abort();
  batch(() => {
    messages.value = [];
    live.value = null;
    shown.value = null;
    opened.value = null;
    problem.value = "";
  });
  traces.clear();
  chat = newId();
  save();
}

/** @param {Message} message */
export function inspect(message) {
  shown.value = traces.get(message.id) ?? null;
  panel.value = true;
}

/** @param {Message} message */
export const inspectable = (message) => traces.has(message.id);

/** The body of the next question, as the page would send it now. */
export function body() {
  const known = documents(messages.value);
  const more = known.length ? { documents: known } : {};
  return { id: chat, trigger: "submit-message", model: route.value, messages: messages.value.map(uiMessage).filter((one) => one.parts.length), ...more };
}

/** Whether the provider of a question to the chosen route may be broken: scripts by everybody, others with the admin key. */
export function breakable() {
  return adminKey.value !== "" || routes.value.some((one) => one.id === route.value && one.scripted);
}

/** @returns {{[name: string]: string}} */
function broken() {
  if (!fault.value || !breakable()) return {};
  return { "X-Router-Fault": fault.value, ...(adminKey.value ? { "X-Router-Admin-Key": adminKey.value } : {}) };
}

/**
 * Ask the route of scripts something, and break its first target: what follows needs no key.
 * @param {string} name
 * @param {string} question
 */
export function showRescue(name, question) {
  batch(() => {
    route.value = name;
    fault.value = "cut";
    panel.value = true;
  });
  void send([{ type: "text", text: question }]).finally(() => {
    fault.value = "";
  });
}

/**
 * Load what the server remembers of an answer that is over, and show in the text where another target went on.
 * @param {string} id the message's
 * @param {Trace} trace
 */
async function loadRecord(id, trace) {
  const request = trace.headers["x-router-resumed"] ?? trace.headers["x-request-id"];
  if (!request) return;
  for (const wait of RECORD_WAITS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      /** @type {RequestRecord} */
      const record = await (await ask(`api/requests/${encodeURIComponent(request)}`)).json();
      trace.record = record;
      batch(() => {
        messages.value = messages.value.map((one) => (one.id === id ? recorded(one, record) : one));
        ticks.value += 1;
      });
      save();
      return;
    } catch (error) {
      if (!(error instanceof Missing)) return; // another key, or no server: the page does without
    }
  }
}

/**
 * A message with what the record says of it. Where it went on, the record is of its last part.
 * @param {Message} message
 * @param {RequestRecord} record
 * @returns {Message}
 */
function recorded(message, record) {
  const { earlier } = message;
  const before = earlier ? [...earlier.parts.map((part) => (part.type === "text" ? part.text : "")).join("")].length : 0;
  const seams = record.seams.map((one) => ({ ...one, after_characters: one.after_characters + before }));
  const cost = earlier?.cost && record.cost_usd !== null ? earlier.cost + record.cost_usd : record.cost_usd;
  return { ...message, seams: [...(earlier?.seams ?? []), ...seams], cost };
}

async function answer() {
  const spoken = dialect.value;
  await follow({ id: newId(), role: "assistant", parts: [], route: route.value }, spoken, (signal) => post(JSON.stringify(body()), spoken, signal));
}

/**
 * @param {string} text the body
 * @param {string} spoken the dialect
 * @param {AbortSignal} signal
 */
function post(text, spoken, signal) {
  const headers = { "Content-Type": "application/json", "X-Stream-Protocol": spoken, "X-Router-Min-Client": MIN_CLIENT, ...broken() };
  return ask("api/chat", { method: "POST", signal, headers, body: text });
}

/**
 * Find an answer again that was coming in when the page was left.
 * @param {Message} message
 */
async function resume(message) {
  announced.value = words.resuming;
  const path = `api/chat/${encodeURIComponent(chat)}/stream?protocol=${DIALECTS[0]}`;
  await follow(message, DIALECTS[0], async (signal) => {
    const response = await ask(path, { signal });
    if (response.status === 204) throw new Problem(words.lost);
    return response;
  });
}

/**
 * Follow an answer from its headers to its end.
 * @param {Message} message
 * @param {string} spoken the dialect
 * @param {(signal: AbortSignal) => Promise<Response>} request
 */
async function follow(message, spoken, request) {
  leave = new AbortController();
  stopping = false;
  const leaving = leave.signal;
  const trace = traced(spoken);
  traces.set(message.id, trace);
  const into = draft(message.earlier?.parts);
  batch(() => {
    live.value = message;
    shown.value = trace;
    problem.value = "";
  });
  save();
  const show = painter(() => {
    if (leaving.aborted) return;
    live.value = { ...message, parts: into.parts.map((part) => ({ ...part })) };
    ticks.value += 1;
  });
  /** @type {string | undefined} */
  let error;
  let documents = written(into.parts);
  try {
    const response = await request(leaving);
    headed(trace, response);
    const take = reader(spoken, into);
    const decoder = new TextDecoder();
    for await (const bytes of chunks(response)) {
      const text = decoder.decode(bytes, { stream: true });
      read(trace, bytes.length, text);
      take(text);
      if (trace.text === undefined && into.parts.some((part) => part.type === "text")) {
        trace.text = since(trace);
        announced.value = words.started;
      }
      if (written(into.parts) !== documents) {
        documents = written(into.parts);
        noticed(message, into.parts);
      }
      show();
    }
    error = into.error ?? (into.ended || spoken === "text" ? undefined : words.brokenOff);
  } catch (caught) {
    error = leaving.aborted ? undefined : inWords(caught);
  }
  trace.end = since(trace);
  show.cancel();
  if (leaving.aborted && live.value?.id !== message.id) return; // another chat has begun
  const note = stopping ? words.stopped : into.parts.some(waits) ? words.decisionWanted : REASONS[into.reason ?? ""];
  if (stopping) error = undefined;
  const whole = { ...message, parts: into.parts.length ? into.parts : message.parts, error, usage: added(message.earlier?.usage, into.usage), note };
  batch(() => {
    messages.value = [...messages.value, whole];
    live.value = null;
    ticks.value += 1;
    announced.value = error ?? note ?? words.finished;
  });
  save();
  if (!error || trace.head !== undefined) void loadRecord(message.id, trace);
}

/** @param {Part[]} parts */
const written = (parts) => parts.filter((part) => part.type === "artifact").length;

/**
 * Show the document that a tool has begun, where there is room for it and the reader looks at nothing else in the panel.
 * @param {Message} message
 * @param {Part[]} parts
 */
function noticed(message, parts) {
  const at = parts.findLastIndex((part) => part.type === "artifact");
  announced.value = words.artifactBegins;
  if (panel.value ? tab.value === "artifact" : matchMedia(WIDE).matches) {
    live.value = { ...message, parts: parts.map((part) => ({ ...part })) };
    openArtifact(message.id, at);
  }
}

/**
 * @param {Usage | undefined} one
 * @param {Usage | undefined} other
 */
const added = (one, other) => (one && other ? { input: one.input + other.input, output: one.output + other.output } : other);

/**
 * The chunks of a body. Not every browser can iterate over a stream.
 * @param {Response} response
 */
async function* chunks(response) {
  const source = response.body?.getReader();
  if (!source) return;
  try {
    for (;;) {
      const { done, value } = await source.read();
      if (done) return;
      yield value;
    }
  } finally {
    source.releaseLock();
  }
}

/**
 * A function that has `paint` called once before the next frame, however often it is called itself; four times a second while the page
 * is not seen.
 * @param {() => void} paint
 */
function painter(paint) {
  let frame = 0;
  let timer = 0;
  const cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = timer = 0;
  };
  const run = () => {
    cancel();
    paint();
  };
  const show = () => {
    if (frame || timer) return;
    if (!document.hidden) frame = requestAnimationFrame(run);
    timer = setTimeout(run, 250);
  };
  return Object.assign(show, { cancel });
}

/** Keep the conversation for this tab, so that it survives being loaded anew. */
function save() {
  if (gone) return;
  const kept = JSON.stringify({ chat, route: route.value, dialect: dialect.value, panel: panel.value, messages: messages.value, live: live.value });
  try {
    if (kept.length < MAX_SAVED) sessionStorage.setItem(SAVED, kept);
    else sessionStorage.removeItem(SAVED);
  } catch {
    sessionStorage.removeItem(SAVED); // full
  }
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(SAVED) ?? "null");
    if (!kept) return;
    batch(() => {
      chat = kept.chat;
      route.value = kept.route;
      dialect.value = kept.dialect;
      panel.value = kept.panel;
      messages.value = kept.messages;
      live.value = kept.live;
    });
  } catch {
    sessionStorage.removeItem(SAVED);
  }
}
