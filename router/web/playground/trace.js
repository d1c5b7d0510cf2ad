/** What the page saw of one answer: headers, times and bytes. */

/**
 * @typedef {{name: string, outcome: string, seconds: number | undefined, wait: string | undefined}} Attempt
 * @typedef {{at: number, text: string}} Piece `at` in milliseconds since the request was sent
 * @typedef {{
 *   dialect: string, began: number, head?: number, text?: number, end?: number,
 *   headers: {[name: string]: string}, attempts: Attempt[], pieces: Piece[], count: number, bytes: number,
 *   record?: import("../core/record.js").RequestRecord,
 * }} Trace times in milliseconds since `began`; `record`: what the server remembers, once the answer is over
 */

/** Pieces of one answer that are kept: the last ones. */
export const MAX_PIECES = 1000;
const ATTEMPT = /"((?:[^"\\]|\\.)*)"((?:;[a-z][\w.*-]*(?:=(?:"(?:[^"\\]|\\.)*"|[^;,\s]+))?)*)/g;

/**
 * @param {string} dialect
 * @returns {Trace}
 */
export function traced(dialect) {
  return { dialect, began: performance.now(), headers: {}, attempts: [], pieces: [], count: 0, bytes: 0 };
}

/** @param {Trace} trace */
export const since = (trace) => performance.now() - trace.began;

/**
 * Note the headers of the answer.
 * @param {Trace} trace
 * @param {Response} response
 */
export function headed(trace, response) {
  trace.head = since(trace);
  trace.headers = Object.fromEntries(response.headers);
  trace.attempts = attempts(trace.headers["x-router-attempts"] ?? "");
}

/**
 * Note a piece of the answer.
 * @param {Trace} trace
 * @param {number} bytes
 * @param {string} text
 */
export function read(trace, bytes, text) {
  trace.bytes += bytes;
  trace.count += 1;
  trace.pieces.push({ at: since(trace), text });
  if (trace.pieces.length > MAX_PIECES) trace.pieces.shift();
}

/**
 * The targets of X-Router-Attempts (RFC 9651, a list with parameters), in order.
 * @param {string} header
 * @returns {Attempt[]}
 */
export function attempts(header) {
  return [...header.matchAll(ATTEMPT)].map(([, name = "", rest = ""]) => {
    const found = new Map(rest.split(";").map((one) => /** @type {[string, string]} */ (one.split("=", 2))));
    const seconds = Number(found.get("seconds"));
    return {
      name: name.replace(/\\(.)/g, "$1"),
      outcome: found.get("outcome") ?? "",
      seconds: found.has("seconds") && Number.isFinite(seconds) ? seconds : undefined,
      wait: found.get("wait"),
    };
  });
}
