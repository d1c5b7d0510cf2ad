/** Readers of the five dialects: the text of a stream → the parts of a message. docs/wire.md describes each. */

/**
 * @typedef {{type: "text", text: string}} TextPart
 * @typedef {{type: "reasoning", text: string}} ThoughtPart
 * @typedef {{type: "file", mediaType: string, url: string, filename: string}} FilePart
 * @typedef {{type: "source", url: string, title: string}} SourcePart `url` is empty for a document that has no address
 * @typedef {{type: "step"}} StepPart
 * @typedef {{id: string, approved?: boolean}} Approval a question whether a call may run; `approved` is not there before its user has decided
 * @typedef {{
 *   type: "tool", id: string, name: string, written: string, input?: unknown, progress?: unknown, output?: unknown, error?: string,
 *   approval?: Approval,
 * }} ToolPart
 * @typedef {{type: "artifact", call: string, id: string, kind: string, title: string, content: string, done: boolean}} ArtifactPart
 *   a document that a tool writes beside the answer; `kind` is `text`, `code`, `sheet`, or one that this page does not know
 * @typedef {{type: "suggestion", document: string, original: string, suggested: string, description: string}} SuggestionPart
 *   a change of a document that a tool suggests; `document` is its id
 * @typedef {TextPart | ThoughtPart | FilePart | SourcePart | StepPart | ToolPart | ArtifactPart | SuggestionPart} Part
 * @typedef {{input: number, output: number}} Usage
 * @typedef {{parts: Part[], ended: boolean, reason?: string, usage?: Usage, error?: string}} Draft an answer, as far as it was read
 */

export const DIALECTS = /** @type {const} */ (["ui-message-stream", "data-stream", "line", "openai", "text"]);

/**
 * An answer before its first piece. `earlier`: the parts of one that goes on.
 * @param {Part[]} [earlier]
 * @returns {Draft}
 */
export const draft = (earlier = []) => ({ parts: earlier.map((part) => ({ ...part })), ended: false });

/**
 * Whether a call waits for its user's decision.
 * @param {Part} part
 */
export const waits = (part) => part.type === "tool" && part.approval !== undefined && part.approval.approved === undefined && part.output === undefined && part.error === undefined;

/**
 * Return a function that takes the next piece of a stream in this dialect and writes what it says into the draft.
 * @param {string} dialect
 * @param {Draft} into
 * @returns {(piece: string) => void}
 */
export function reader(dialect, into) {
  if (dialect === "text") return (piece) => said(into, "text", piece);
  const take = dialect === "ui-message-stream" ? uiChunk : dialect === "openai" ? openaiChunk : undefined;
  let rest = "";
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!take) coded(line, into);
      else if (line.startsWith("data: ")) {
        if (line === "data: [DONE]") into.ended = true;
        else take(JSON.parse(line.slice(6)), into);
      }
    }
  };
}

/**
 * @param {Draft} into
 * @param {"text" | "reasoning"} type
 * @param {string} text
 */
function said(into, type, text) {
  const last = into.parts.at(-1);
  if (last?.type === type) last.text += text;
  else if (text) into.parts.push({ type, text });
}

/**
 * The card of a call, made where there is none yet.
 * @param {Draft} into
 * @param {string} id
 * @param {string} [name]
 * @returns {ToolPart}
 */
function tool(into, id, name) {
  for (const part of into.parts) {
    if (part.type === "tool" && part.id === id) {
      part.name ||= name ?? "";
      return part;
    }
  }
  /** @type {ToolPart} */
  const made = { type: "tool", id, name: name ?? "", written: "" };
  into.parts.push(made);
  return made;
}

/**
 * @param {any} usage
 * @returns {Usage | undefined}
 */
function counted(usage) {
  const input = usage?.inputTokens ?? usage?.promptTokens ?? usage?.prompt_tokens;
  const output = usage?.outputTokens ?? usage?.completionTokens ?? usage?.completion_tokens;
  return Number.isFinite(input) && Number.isFinite(output) ? { input, output } : undefined;
}

/**
 * @param {any} chunk
 * @param {Draft} into
 */
function uiChunk(chunk, into) {
  switch (chunk.type) {
    case "text-delta":
      return said(into, "text", chunk.delta);
    case "reasoning-delta":
      return said(into, "reasoning", chunk.delta);
    case "start-step":
      return void into.parts.push({ type: "step" });
    case "tool-input-start":
      return void tool(into, chunk.toolCallId, chunk.toolName);
    case "tool-input-delta":
      tool(into, chunk.toolCallId).written += chunk.inputTextDelta;
      return;
    case "tool-input-available":
      tool(into, chunk.toolCallId, chunk.toolName).input = chunk.input;
      return;
    case "data-tool-progress":
      tool(into, chunk.data.toolCallId).progress = chunk.data.output;
      return;
    case "tool-output-available":
      if (chunk.preliminary) return void (tool(into, chunk.toolCallId).progress = chunk.output);
      tool(into, chunk.toolCallId).output = chunk.output;
      return entitled(into, chunk.toolCallId, chunk.output);
    case "tool-output-error":
      tool(into, chunk.toolCallId).error = chunk.errorText;
      return;
    case "tool-approval-request":
      tool(into, chunk.toolCallId).approval = { id: chunk.approvalId };
      return;
    case "source-url":
      return void into.parts.push({ type: "source", url: chunk.url, title: chunk.title ?? "" });
    case "source-document":
      return void into.parts.push({ type: "source", url: "", title: chunk.title ?? chunk.filename ?? "" });
    case "file":
      return void into.parts.push({ type: "file", mediaType: chunk.mediaType, url: chunk.url, filename: "" });
    case "data-suggestion":
      return suggested(chunk.data, into);
    case "error":
      into.error = chunk.errorText;
      return;
    case "finish":
      into.reason = chunk.messageMetadata?.finishReason;
      into.usage = counted(chunk.messageMetadata?.usage);
      return;
    default:
      if (chunk.type?.startsWith("data-")) artifactChunk(chunk, into);
  }
}

/** Parts of a tool's document whose content replaces what was there. */
const REPLACING = { "data-codeDelta": "code", "data-sheetDelta": "sheet" };

/**
 * A piece of a document, in the parts of vercel/ai-chatbot. `id` of such a part is the call's. A call that names no document writes the
 * newest one anew.
 * @param {any} chunk
 * @param {Draft} into
 */
function artifactChunk({ type, id = "", data }, into) {
  if (!ARTIFACT.has(type)) return;
  const known = into.parts.findLast((part) => part.type === "artifact");
  let part = /** @type {ArtifactPart | undefined} */ (known?.type === "artifact" && known.call === id && !known.done ? known : undefined);
  if (!part) {
    const before = known?.type === "artifact" && type !== "data-kind" && type !== "data-id" ? known : undefined;
    part = { type: "artifact", call: id, id: before?.id ?? "", kind: before?.kind ?? "text", title: before?.title ?? "", content: "", done: false };
    into.parts.push(part);
  }
  const text = typeof data === "string" ? data : data === undefined || data === null ? "" : JSON.stringify(data);
  if (type === "data-kind") part.kind = text;
  else if (type === "data-id") part.id = text;
  else if (type === "data-title") part.title = text;
  else if (type === "data-clear") part.content = "";
  else if (type === "data-finish") part.done = true;
  else if (type === "data-textDelta") part.content += text;
  else {
    part.kind = REPLACING[/** @type {keyof typeof REPLACING} */ (type)];
    part.content = text;
  }
}

/**
 * A suggestion, in the part of vercel/ai-chatbot.
 * @param {any} data
 * @param {Draft} into
 */
function suggested(data, into) {
  const { documentId: document, originalText: original, suggestedText, description = "" } = data ?? {};
  if (![document, original, suggestedText, description].every((one) => typeof one === "string")) return;
  into.parts.push({ type: "suggestion", document, original, suggested: suggestedText, description });
}

/**
 * Name a document after its call's result. A call that changes a document of an earlier answer names it there alone.
 * @param {Draft} into
 * @param {string} call
 * @param {any} output
 */
function entitled(into, call, output) {
  for (const part of into.parts) {
    if (part.type !== "artifact" || part.call !== call) continue;
    if (typeof output?.title === "string" && (!part.title || output.id !== part.id)) part.title = output.title;
    if (typeof output?.id === "string") part.id = output.id;
  }
}

const ARTIFACT = new Set(["data-kind", "data-id", "data-title", "data-clear", "data-finish", "data-textDelta", ...Object.keys(REPLACING)]);

/**
 * A line of `line` or `data-stream`: a character, a colon, one JSON value.
 * @param {string} line
 * @param {Draft} into
 */
function coded(line, into) {
  if (!line) return;
  const value = JSON.parse(line.slice(2));
  const call = value?.toolCallId;
  switch (line[0]) {
    case "0":
      return said(into, "text", value.textDelta ?? value);
    case "g":
      return said(into, "reasoning", value.textDelta ?? value);
    case "f":
      return void into.parts.push({ type: "step" });
    case "b":
      return void tool(into, call, value.toolName);
    case "c":
      tool(into, call).written += value.argsTextDelta;
      return;
    case "9":
      tool(into, call, value.toolName).input = value.args;
      return;
    case "a": {
      const card = tool(into, call);
      if (value.isError) card.error = typeof value.result === "string" ? value.result : JSON.stringify(value.result);
      else card.output = value.result;
      return;
    }
    case "3":
      into.error = value.error ?? value;
      return;
    case "d":
      into.reason = value.finishReason;
      into.usage = counted(value.usage);
      into.ended = true;
      return;
    case "h":
      return void into.parts.push({ type: "source", url: value.url ?? "", title: value.title ?? "" });
    case "k":
      return void into.parts.push({ type: "file", mediaType: value.mimeType, url: `data:${value.mimeType};base64,${value.data}`, filename: "" });
  }
}

/**
 * @param {any} chunk
 * @param {Draft} into
 */
function openaiChunk(chunk, into) {
  if (chunk.error) into.error = chunk.error.message;
  if (chunk.usage) into.usage = counted(chunk.usage);
  const choice = chunk.choices?.[0];
  if (!choice) return;
  if (choice.finish_reason) into.reason = choice.finish_reason.replaceAll("_", "-");
  if (choice.delta.reasoning_content) said(into, "reasoning", choice.delta.reasoning_content);
  if (choice.delta.content) said(into, "text", choice.delta.content);
}

/**
 * A message as AI SDK 5 and later send it.
 * @param {{id: string, role: string, parts: Part[]}} message
 */
export function uiMessage({ id, role, parts }) {
  return { id, role, parts: parts.flatMap((part) => sent(part, role)) };
}

/**
 * What the server is sent of a part: of an answer its text and its calls.
 * @param {Part} part
 * @param {string} role
 * @returns {object[]}
 */
function sent(part, role) {
  if (part.type === "step") return [{ type: "step-start" }];
  if (part.type === "text" || (part.type === "file" && role === "user")) return [part];
  if (part.type !== "tool") return [];
  const call = { type: `tool-${part.name}`, toolCallId: part.id, input: part.input ?? {} };
  if (part.error !== undefined) return [{ ...call, state: "output-error", errorText: part.error }];
  if (part.output !== undefined) return [{ ...call, state: "output-available", output: part.output }];
  return part.approval?.approved === undefined ? [] : [{ ...call, state: "approval-responded", approval: part.approval }];
}
