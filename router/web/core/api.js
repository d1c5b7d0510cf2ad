/** Requests to this server: with the reader's key, and with errors in words. */

import { signal } from "./dom.js";
import { words } from "./words.js";

const KEY = "pointsman.key";

/** The reader's API key; empty where none was typed in. It stays in this tab. */
export const key = signal(sessionStorage.getItem(KEY) ?? "");
/** Whether the server has refused the key, or its lack. */
export const keyWanted = signal(false);

/** The operator's key; empty where none was typed in. It stays in the memory of this page, and goes when it is left. */
export const adminKey = signal("");

/** @param {string} value */
export function keepKey(value) {
  key.value = value.trim();
  keyWanted.value = false;
  if (key.value) sessionStorage.setItem(KEY, key.value);
  else sessionStorage.removeItem(KEY);
}

/** An error whose message may be shown. */
export class Problem extends Error {}

/** An answer of 404: what is asked for is not there, or not yet. */
export class Missing extends Problem {}

/** An answer of 401 or 403 to an operator's request. */
export class Refused extends Problem {}

/**
 * Ask an address of this server as a caller. The address is relative to the page. Problem where it cannot be reached or answers with an
 * error.
 * @param {string} path
 * @param {RequestInit & {headers?: Record<string, string>}} [options]
 */
export function ask(path, options = {}) {
  return request(path, options, key.value);
}

/**
 * Ask an operator's address. Refused where the admin key is wanted, or is another.
 * @param {string} path
 * @param {unknown} [body] what is sent; with it the request is a POST
 */
export async function operate(path, body) {
  const post = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return await request(path, post, adminKey.value);
}

/**
 * @param {string} path
 * @param {RequestInit & {headers?: Record<string, string>}} options
 * @param {string} credential
 */
async function request(path, options, credential) {
  const headers = { ...options.headers, ...(credential ? { Authorization: `Bearer ${credential}` } : {}) };
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, headers, credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(words.offline);
  }
  if (!response.ok) {
    const operators = path.startsWith("admin/");
    if (response.status === 401 && !operators) keyWanted.value = true;
    const kind = response.status === 404 ? Missing : operators && (response.status === 401 || response.status === 403) ? Refused : Problem;
    throw new kind(sentence(await response.text(), response.status));
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
    if (Array.isArray(found)) return found.map((/** @type {any} */ one) => `${one.file}:${one.line}:${one.column}: ${one.message}`).join("\n");
    if (typeof found === "string") return found;
  } catch {
    if (body && body.length < 500 && !body.startsWith("<")) return body;
  }
  return `HTTP ${status}`;
}
