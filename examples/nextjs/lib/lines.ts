/**
 * The router's lines, read and turned into the AI SDK's chunks. No network and no framework in here.
 *
 *   0:{"type":"text-delta","textDelta":"Let me check."}
 *   9:{"type":"tool-call","toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}
 *   a:{"type":"tool-result","toolCallId":"call_1","toolName":"get_weather","result":"25°C"}     isError: true if it failed
 *   g:{"type":"reasoning","textDelta":"…"}                                 where the route says `reasoning: show`
 *   3:{"type":"error","error":"… (request req_1)"}
 *   d:{"type":"finish","finishReason":"stop"}                              exactly one, last
 */
import type { UIMessageChunk } from "ai";

export type Line =
  | { type: "text-delta"; textDelta: string }
  | { type: "reasoning"; textDelta: string }
  | { type: "tool-call"; toolCallId: string; toolName: string; args: unknown }
  | { type: "tool-result"; toolCallId: string; toolName: string; result: unknown; isError?: boolean }
  | { type: "error"; error: string }
  | { type: "finish"; finishReason?: string };

/** The objects of a body's lines, as they come. Network chunks may end anywhere, in the middle of a character too. */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = body.getReader();
  let rest = "";
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const pieces = (rest + decoder.decode(read.value, { stream: true })).split("\n");
      rest = pieces.pop() ?? "";
      for (const piece of pieces) {
        if (piece) yield parsed(piece);
      }
    }
  } finally {
    // Whoever stops reading early lets the router know, and it stops the model.
    await reader.cancel().catch(() => {});
  }
  // A line without its end was cut off: toChunks finds that there was no finish.
}

function parsed(line: string): Line {
  if (!/^[0-9a-z]:\{/.test(line)) throw new Error(`Not a line of the router: ${line.slice(0, 80)}`);
  return JSON.parse(line.slice(2)) as Line;
}

/**
 * Lines as chunks of a UI message stream; only such as every release of AI SDK 5 takes: older ones refuse an answer
 * over one key they do not know (`finishReason`, for instance). Throws if the lines end without their finish: the AI
 * SDK itself would take the half answer for a whole one.
 */
export async function* toChunks(lines: AsyncIterable<Line>): AsyncGenerator<UIMessageChunk> {
  let parts = 0; // text and reasoning parts so far: their ids must differ within the message
  let open: { kind: "text" | "reasoning"; id: string } | undefined;
  let inStep = false; // a step is one call of the model, with the results of the tools it asked for
  let called = false; // whether it asked for any
  const waiting = new Set<string>(); // for which of them

  function* close(): Generator<UIMessageChunk> {
    if (open) yield { type: `${open.kind}-end`, id: open.id };
    open = undefined;
  }

  function* endStep(): Generator<UIMessageChunk> {
    yield* close();
    if (inStep) yield { type: "finish-step" };
    inStep = called = false;
    waiting.clear();
  }

  /** What the model says after all results are in, it says in a new step. The lines do not mark that; it follows. */
  function* spoken(): Generator<UIMessageChunk> {
    if (called && waiting.size === 0) yield* endStep();
    if (!inStep) yield { type: "start-step" };
    inStep = true;
  }

  function* said(kind: "text" | "reasoning", delta: string): Generator<UIMessageChunk> {
    yield* spoken();
    if (open?.kind !== kind) {
      yield* close();
      open = { kind, id: `${kind}-${++parts}` };
      yield { type: `${kind}-start`, id: open.id };
    }
    yield { type: `${kind}-delta`, id: open.id, delta };
  }

  yield { type: "start" };
  let failed = false;
  for await (const line of lines) {
    switch (line.type) {
      case "text-delta":
        yield* said("text", line.textDelta);
        break;
      case "reasoning":
        yield* said("reasoning", line.textDelta);
        break;
      case "tool-call":
        yield* spoken();
        yield* close();
        called = true;
        waiting.add(line.toolCallId);
        yield { type: "tool-input-available", toolCallId: line.toolCallId, toolName: line.toolName, input: line.args };
        break;
      case "tool-result":
        waiting.delete(line.toolCallId);
        yield* close();
        yield line.isError
          ? { type: "tool-output-error", toolCallId: line.toolCallId, errorText: asText(line.result) }
          : { type: "tool-output-available", toolCallId: line.toolCallId, output: line.result };
        break;
      case "error":
        failed = true;
        yield* close();
        yield { type: "error", errorText: line.error };
        break;
      case "finish":
        yield* endStep();
        yield { type: "finish" };
        return;
      default:
        break; // a kind of line that is younger than this reader
    }
  }
  if (!failed) throw new Error("The router's lines ended without a finish");
}

function asText(result: unknown): string {
  return typeof result === "string" ? result : JSON.stringify(result);
}
