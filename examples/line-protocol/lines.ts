/**
 * The router's line protocol: its types, and a reader of its streams. Needs nothing but `fetch`.
 *
 *   0:{"type":"text-delta","textDelta":"Let me check."}
 *   9:{"type":"tool-call","toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}
 *   a:{"type":"tool-result","toolCallId":"call_1","toolName":"get_weather","result":"25°C"}
 *   d:{"type":"finish","finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3}}
 *
 * The protocol is described in docs/wire.md, at "Lines". A test of the router compares these types with what it writes.
 */

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** `0:` a piece of the answer's text, never empty. */
export interface TextDelta {
  type: "text-delta";
  textDelta: string;
}

/** `g:` a piece of the model's thoughts, only where the route says `reasoning: show`. */
export interface Reasoning {
  type: "reasoning";
  textDelta: string;
}

/** `9:` a tool was called. It runs in the router. */
export interface ToolCall {
  type: "tool-call";
  toolCallId: string;
  toolName: string;
  args: { [key: string]: Json };
}

/** `a:` its result. `isError` is there only where the tool failed; the answer goes on. */
export interface ToolResult {
  type: "tool-result";
  toolCallId: string;
  toolName: string;
  result: Json;
  isError?: true;
}

/** `h:` a page that the model cites (`url`), or a document (`mediaType`). */
export interface Source {
  type: "source";
  sourceType: "url" | "document";
  id: string;
  url?: string;
  mediaType?: string;
  title?: string;
}

/** `k:` a file that the model made. `data`: its bytes, in base64. */
export interface ProducedFile {
  type: "file";
  mimeType: string;
  data: string;
}

/** `3:` the answer broke off. `error` is a sentence for users, and names the request. A `d:` line follows. */
export interface Failure {
  type: "error";
  error: string;
}

/** `d:` the end: exactly one, last. `usage` is over all model calls, and there only where a provider counted. */
export interface Finish {
  type: "finish";
  finishReason: FinishReason;
  usage?: Usage;
}

export type FinishReason = "stop" | "length" | "content-filter" | "tool-calls" | "other" | "unknown" | "error";

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

/** Each line's code, and the object after its colon. */
export interface Lines {
  "0": TextDelta;
  g: Reasoning;
  "9": ToolCall;
  a: ToolResult;
  h: Source;
  k: ProducedFile;
  "3": Failure;
  d: Finish;
}

export type Line = Lines[keyof Lines];

/** The answer to `"stream": false`. Keys with a question mark are there only if there is something in them. */
export interface Answer {
  id: string;
  model: string;
  role: "assistant";
  content: string;
  reasoning?: string;
  sources?: Omit<Source, "type">[];
  files?: Omit<ProducedFile, "type">[];
  toolCalls?: ToolCall[];
  toolResults?: ToolResult[];
  finishReason: FinishReason;
  usage?: Usage;
}

/** The body of an HTTP error, which comes before the first line or not at all. Programs decide by `code`: docs/wire.md, at "Errors". */
export interface Refusal {
  type: "error";
  error: string;
  code: string;
  requestId: string;
}

const CODES: Record<keyof Lines, Line["type"]> = {
  "0": "text-delta",
  g: "reasoning",
  "9": "tool-call",
  a: "tool-result",
  h: "source",
  k: "file",
  "3": "error",
  d: "finish",
};

/**
 * The lines of a response's body, as they come. The network may cut anywhere, in the middle of a character too. Lines of a kind that is
 * younger than this reader are left out. Throws if the stream ends without its `d:` line: then it was cut off, and the answer is not complete.
 */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<Line, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = body.getReader();
  let rest = "";
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const lines = (rest + decoder.decode(read.value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const value = parsed(line);
        if (value) yield value;
        if (value?.type === "finish") return;
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // a reader that leaves early lets the router know, and the model is stopped
  }
  throw new Error("The answer was cut off.");
}

function parsed(line: string): Line | undefined {
  if (!/^[0-9a-z]:\{/.test(line)) throw new Error(`Not a line of the router: ${line.slice(0, 80)}`);
  const value = JSON.parse(line.slice(2)) as Line;
  return CODES[line[0] as keyof Lines] === value.type ? value : undefined;
}
