/**
 * The router as the server of vercel/ai-chatbot (AI SDK 5, 6 and 7) sees it: a question, its answer as UI message chunks, the documents that
 * the answer writes, and where to find or stop an answer. The chat routes beside it are all that use it.
 */
import { parseJsonEventStream, type UIMessage, type UIMessageChunk, uiMessageChunkSchema } from "ai";

const ROUTER_URL = process.env.ROUTER_URL ?? "http://localhost:8000";

export type DocumentKind = "text" | "code" | "sheet";
export type ChatDocument = { id: string; title: string; kind: DocumentKind; content: string };
export type DocumentSuggestion = {
  id: string;
  documentId: string;
  originalText: string;
  suggestedText: string;
  description: string;
  isResolved: boolean;
};

/** The database of the front end, for what an answer writes beside its message. */
export type Store = {
  saveDocument(document: ChatDocument): Promise<unknown>;
  saveSuggestions(documentId: string, suggestions: DocumentSuggestion[]): Promise<unknown>;
};

export type Question = {
  chatId: string;
  userId: string;
  model: string;
  messages: UIMessage[];
  documents: ChatDocument[];
  hints: Record<string, string | undefined>;
};

/** A refusal before the answer has begun, in the form that the page's `fetchWithErrorHandlers` reads: the router writes that form itself. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: { code: string; message: string; cause?: string }
  ) {
    super(body.message);
  }

  toResponse(): Response {
    return Response.json(this.body, { status: this.status });
  }
}

/** The answer, as far as the router has it. No `signal`: an answer goes on for a page that is loaded again, and ends by `stopAnswer`. */
export async function ask({ chatId, userId, model, messages, documents, hints }: Question): Promise<ReadableStream<UIMessageChunk>> {
  const body = JSON.stringify({ id: chatId, model, messages, documents, hints, trigger: "submit-message" });
  const response = await asked("/api/chat?protocol=ui-message-stream", userId, { method: "POST", body });
  if (!response.ok || response.body === null) {
    throw await refusal(response);
  }
  return chunks(response.body);
}

/** The answer of this chat that runs, or has just ended, from its start: a Response for the page. 204 where there is none. */
export async function findAnswer(chatId: string, userId: string): Promise<Response> {
  const response = await asked(`/api/chat/${encodeURIComponent(chatId)}/stream?protocol=ui-message-stream`, userId, { method: "GET" });
  if (response.status === 204 || !response.ok) {
    await response.body?.cancel();
    return new Response(null, { status: 204 });
  }
  const headers = { "content-type": "text/event-stream", "cache-control": "no-cache", "x-vercel-ai-ui-message-stream": "v1" };
  return new Response(response.body, { headers });
}

/** End the answer of this chat, with the model that writes it. What was written so far is saved by the request that asked. */
export async function stopAnswer(chatId: string, userId: string): Promise<void> {
  const response = await asked(`/api/chat/${encodeURIComponent(chatId)}/stop`, userId, { method: "POST" });
  await response.body?.cancel();
}

/** A title for the list of chats, by the route `title-model`. */
export async function titleOf(message: UIMessage, userId: string): Promise<string> {
  const text = message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  const body = JSON.stringify({ model: "title-model", stream: false, messages: [{ role: "user", content: text }] });
  const response = await asked("/api/chat?protocol=line", userId, { method: "POST", body });
  if (!response.ok) {
    throw await refusal(response);
  }
  const { content }: { content: string } = await response.json();
  return content.trim();
}

async function asked(path: string, userId: string, init: RequestInit): Promise<Response> {
  const headers: Record<string, string> = { "content-type": "application/json", "x-chat-user": userId };
  if (process.env.ROUTER_KEY) {
    headers.authorization = `Bearer ${process.env.ROUTER_KEY}`;
  }
  try {
    return await fetch(ROUTER_URL + path, { ...init, headers, cache: "no-store" });
  } catch {
    throw new Refusal(503, { code: "offline:chat", message: "The chat's server cannot be reached." });
  }
}

async function refusal(response: Response): Promise<Refusal> {
  const { code, message, cause } = await response.json().catch(() => ({}));
  if (typeof code !== "string" || response.status === 401 || response.status === 403) {
    console.error(`The router refuses this server (${response.status}): see ROUTER_URL and ROUTER_KEY.`, cause);
    return new Refusal(503, { code: "offline:chat", message: "The answer failed. Please try again." });
  }
  return new Refusal(response.status, { code, message, cause });
}

/** The chunks of a stream. One that ends before its `finish` was cut off, which the AI SDK would take for a complete answer. */
function chunks(body: ReadableStream<Uint8Array>): ReadableStream<UIMessageChunk> {
  let over = false;
  return parseJsonEventStream({ stream: body, schema: uiMessageChunkSchema }).pipeThrough(
    new TransformStream({
      transform(parsed, controller) {
        if (!parsed.success) {
          throw parsed.error;
        }
        const chunk = parsed.value as UIMessageChunk;
        over ||= chunk.type === "finish" || chunk.type === "error";
        controller.enqueue(chunk);
      },
      flush(controller) {
        if (!over) {
          controller.enqueue({ type: "error", errorText: "The answer was cut off. Please try again." });
        }
      },
    })
  );
}

/** The ids of the documents that a conversation has written or changed, the newest last. */
export function documentIds(messages: UIMessage[]): string[] {
  const found = new Set<string>();
  for (const part of messages.flatMap((message) => message.parts)) {
    const { id, kind } = ("output" in part ? ((part.output as Partial<ChatDocument> | undefined) ?? {}) : {}) as Partial<ChatDocument>;
    if (part.type.startsWith("tool-") && typeof id === "string" && kind !== undefined) {
      found.delete(id);
      found.add(id);
    }
  }
  return [...found];
}

type Draft = { document?: ChatDocument; suggestions: DocumentSuggestion[]; finish?: UIMessageChunk };

/**
 * Pass the chunks on, and save the documents and suggestions that they hold.
 *
 * The data parts of one tool call bear its id. `data-finish` is held back until the document is saved: the page asks the server for it then.
 * What a failed call had written is not saved. A call that the user stopped gets a result that the page draws as an error.
 */
export function saving(documents: ChatDocument[], store: Store): TransformStream<UIMessageChunk, UIMessageChunk> {
  const drafts = new Map<string, Draft>();
  const draftOf = (callId: string): Draft => {
    const draft = drafts.get(callId) ?? { suggestions: [] };
    drafts.set(callId, draft);
    return draft;
  };
  return new TransformStream({
    async transform(chunk, controller) {
      if (chunk.type === "tool-input-available") {
        const { id, documentId } = (chunk.input ?? {}) as { id?: string; documentId?: string };
        const known = documents.find((one) => one.id === (id ?? documentId));
        if (known !== undefined) {
          draftOf(chunk.toolCallId).document = { ...known };
        }
      } else if ("data" in chunk && chunk.id !== undefined) {
        const draft = draftOf(chunk.id);
        write(draft, chunk.type.slice("data-".length), chunk.data);
        if (chunk.type === "data-finish") {
          draft.finish = chunk;
          return;
        }
      } else if (chunk.type === "finish-step" || chunk.type === "finish" || chunk.type === "error") {
        for (const [toolCallId, { document }] of drafts) {
          if (document?.id) {
            controller.enqueue({ type: "data-finish", data: null, transient: true });
            controller.enqueue({ type: "tool-output-available", toolCallId, output: { error: "It was stopped." } });
          }
        }
        drafts.clear();
      } else if (chunk.type === "tool-output-error" || (chunk.type === "tool-output-available" && chunk.preliminary !== true)) {
        const draft = drafts.get(chunk.toolCallId);
        drafts.delete(chunk.toolCallId);
        if (draft !== undefined) {
          const failed = chunk.type === "tool-output-error" || "error" in ((chunk.output ?? {}) as object);
          if (!failed) {
            await save(draft, documents, store);
          }
          if (draft.finish !== undefined) {
            controller.enqueue(draft.finish);
          }
        }
      }
      controller.enqueue(chunk);
    },
  });
}

function write(draft: Draft, part: string, data: unknown): void {
  if (part === "suggestion") {
    draft.suggestions.push(data as DocumentSuggestion);
    return;
  }
  const document = (draft.document ??= { id: "", title: "", kind: "text", content: "" });
  if (part === "kind" || part === "id" || part === "title") {
    Object.assign(document, { [part]: data });
  } else if (part === "clear") {
    document.content = "";
  } else if (part === "textDelta") {
    document.content += data;
  } else if (part === "codeDelta" || part === "sheetDelta") {
    document.content = String(data); // all of it each time
  }
}

async function save({ document, suggestions, finish }: Draft, documents: ChatDocument[], store: Store): Promise<void> {
  if (document === undefined || document.id === "") {
    return;
  }
  if (finish !== undefined) {
    await store.saveDocument(document);
    documents.push(document);
  }
  if (suggestions.length > 0) {
    await store.saveSuggestions(document.id, suggestions);
  }
}
