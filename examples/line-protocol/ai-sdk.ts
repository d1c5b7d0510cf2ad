/** Lines as chunks of the AI SDK's UI message stream, for a route.ts in front of a router whose answers are lines. */
import type { UIMessageChunk } from "ai";
import type { Json, Line } from "./lines.js";

/**
 * Only chunks that every release since AI SDK 5.0.0 takes: older ones refuse an answer over one key that they do not know
 * (`finishReason`, for instance).
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
      case "source":
        yield* spoken();
        yield line.url
          ? { type: "source-url", sourceId: line.id, url: line.url, ...(line.title && { title: line.title }) }
          : { type: "source-document", sourceId: line.id, mediaType: line.mediaType ?? "text/plain", title: line.title ?? "" };
        break;
      case "file":
        yield* spoken();
        yield* close();
        yield { type: "file", mediaType: line.mimeType, url: `data:${line.mimeType};base64,${line.data}` };
        break;
      case "error":
        yield* close();
        yield { type: "error", errorText: line.error };
        break;
      case "finish":
        yield* endStep();
        yield { type: "finish", messageMetadata: { finishReason: line.finishReason, usage: line.usage } };
    }
  }
}

function asText(result: Json): string {
  return typeof result === "string" ? result : JSON.stringify(result);
}
