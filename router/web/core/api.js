/** Requests to this server: with the reader's key, and with errors in words. */

import { signal } from "./dom.js";
import { words } from "./words.js";

const KEY = "pointsman.key";

/** The reader's API key; empty where none was typed in. It stays in this tab. */
export const key = signal(sessionStorage.getItem(KEY) ?? "");
/** Whether the server has refused the key, or its lack. */
export const keyWanted = signal(false);

/** @param {string} value */
export function keepKey(value) {
  key.value = value.trim();
  keyWanted.value = false;
  if (key.value) sessionStorage.setItem(KEY, key.value);
  else sessionStorage.removeItem(KEY);
}

/** An error whose message may be shown. */
export class Problem extends Error {}

/**
 * Ask an address of this server, relative to the page. Problem where it cannot be reached or answers with an error.
 * @param {string} path
 * @param {RequestInit & {headers?: Record<string, string>}} [options]
 */
export async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key.value ? { Authorization: `Bearer ${key.value}` } : {}) };
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, headers, credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(words.offline);
  }
  if (!response.ok) {
    if (response.status === 401) keyWanted.value = true;
    throw new Problem(sentence(await response.text(), response.status));
  }
  return response;
}

/**
 * The sentence of an error, in whichever dialect it came.
 * @param {string} body
 * @param {number} status
 */
function sentence(body, status) {
  try {
    const { error, message, detail } = JSON.parse(body);
    const found = error?.message ?? error ?? message ?? detail;
    if (typeof found === "string") return found;
  } catch {
    if (body && body.length < 500 && !body.startsWith("<")) return body;
  }
  return `HTTP ${status}`;
}
