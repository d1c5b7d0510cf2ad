/** What operators see of the server, asked anew every few seconds while the cockpit is seen; and what they do to it. */

import { batch, signal } from "../core/dom.js";
import { adminKey, operate, Problem, Refused } from "../core/api.js";
import { words } from "../core/words.js";

/**
 * @typedef {import("../core/record.js").RequestRecord} RequestRecord
 * @typedef {{name: string, state: "auto" | "drain" | "open", breaker: "closed" | "half_open" | "open", retry_in: number | null, busy: number, learned: string[], refusing: {reason: string} | null}} Target
 * @typedef {{tries: number, failure_rate: number | null, first_token_p50: number | null, first_token_p95: number | null, cost_usd: number}} Fared
 * @typedef {{at: number, open: number, answers: number, failures: number, rescues: number, input_tokens: number, output_tokens: number, cost_usd: number, cache_asked: number, cache_hits: number}} Slot
 * @typedef {{slot_seconds: number, slots: Slot[], targets: {[name: string]: Fared}}} Hour
 * @typedef {string | {use?: string, when?: unknown, weight?: number}} Entry
 * @typedef {{targets: Entry[][], tools: unknown[], aliases: string[]}} Route
 * @typedef {{digest: string, skipped: {[name: string]: string}, declared: {routes: {[name: string]: Route}}}} Live
 * @typedef {{routes: string[] | null, caller: string | null, per: string, limit: string, most: string, used: number | null, subjects: number | null, largest: number | null}} Budget
 * @typedef {{files: boolean, digest: string | null, live: string, previous: string | null, changes: string[], complaints: {text: string}[]}} Edit
 * @typedef {{name: string, faults: string[], tried: string[], seconds: number}} Drilled
 */

const EVERY_MS = 3000;
/** Requests that are shown. */
const MAX_REQUESTS = 100;

export const config = signal(/** @type {Live | null} */ (null));
/** The host that is seen, where others may share its Redis: they are not seen here. */
export const replica = signal(/** @type {string | null} */ (null));
export const targets = signal(/** @type {Target[]} */ ([]));
export const hour = signal(/** @type {Hour | null} */ (null));
export const budgets = signal(/** @type {Budget[]} */ ([]));
export const requests = signal(/** @type {RequestRecord[]} */ ([]));
export const edit = signal(/** @type {Edit | null} */ (null));
export const drills = signal(/** @type {Drilled[] | null} */ (null));
/** The request whose waterfall is open. */
export const opened = signal(/** @type {RequestRecord | null} */ (null));
/** Why nothing is shown. */
export const trouble = signal("");
/** Whether the admin key is wanted. */
export const locked = signal(false);
/** What the last action came to. */
export const done = signal("");
/** The action under way; empty while there is none. */
export const acting = signal("");

/** @param {string} path */
const got = async (path) => await (await operate(path)).json();

/** Ask for everything once. */
export async function look() {
  try {
    const [known, stands, past, spent, asked] = await Promise.all([
      got("admin/config"),
      got("admin/targets"),
      got("admin/hour"),
      got("admin/budgets"),
      got(`admin/requests?last=${MAX_REQUESTS}&running=true`),
    ]);
    batch(() => {
      config.value = known.live;
      replica.value = known.replica;
      targets.value = stands.targets;
      hour.value = past;
      budgets.value = spent.budgets;
      requests.value = asked.requests;
      trouble.value = "";
      locked.value = false;
    });
    if (opened.value?.running) await open(opened.value.request_id);
  } catch (error) {
    batch(() => {
      trouble.value = error instanceof Problem ? error.message : words.brokenOff;
      if (!(error instanceof Refused)) return;
      locked.value = true;
      config.value = replica.value = hour.value = edit.value = opened.value = null; // with another key, nothing of what the first one showed
      targets.value = [];
      budgets.value = [];
      requests.value = [];
    });
  }
}

/** Look until the function that is returned is called: again and again, but not while nobody sees the page. */
export function keepLooking() {
  let timer = 0;
  let over = false;
  const again = async () => {
    if (!document.hidden) await look();
    if (!over) timer = setTimeout(again, EVERY_MS);
  };
  void again();
  void lookAtEdit();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

export async function lookAtEdit() {
  try {
    edit.value = await got("admin/edit");
  } catch {
    edit.value = null; // not from files, or no key: `look` says so
  }
}

/** @param {string} key */
export async function unlock(key) {
  adminKey.value = key.trim();
  await look();
  await lookAtEdit();
}

/**
 * Show how one request went.
 * @param {string} id
 */
export async function open(id) {
  try {
    opened.value = await got(`admin/requests/${encodeURIComponent(id)}?running=true`);
  } catch {
    opened.value = null;
  }
}

/**
 * Do something as an operator, and say what came of it.
 * @param {string} name
 * @param {() => Promise<string>} deed
 */
async function act(name, deed) {
  acting.value = name;
  try {
    done.value = await deed();
  } catch (error) {
    done.value = error instanceof Problem ? error.message : words.brokenOff;
  }
  acting.value = "";
  await look();
  await lookAtEdit();
}

/**
 * @param {string} name
 * @param {Target["state"]} state
 */
export const place = (name, state) =>
  act(`place ${name}`, async () => {
    await operate(`admin/targets/${name.split("/").map(encodeURIComponent).join("/")}`, { state });
    return state === "auto" ? words.restored(name) : words.drained(name);
  });

export const reload = () => act("reload", async () => words.serves((await (await operate("admin/reload", {})).json()).generation));

export const goBack = () => act("return", async () => words.serves((await (await operate("admin/return", {})).json()).generation));

export const drill = () =>
  act("drills", async () => {
    const { drills: all } = await (await operate("admin/drills", {})).json();
    drills.value = all;
    return words.drilled(all.length, all.filter((/** @type {Drilled} */ one) => one.faults.length).length);
  });
