/** The chat of this browser tab, kept over a reload. An application with users keeps chats in its database instead. */
import { generateId, type UIMessage } from "ai";

/**
 * `messages`: up to the question that was sent last, or all of them. `shown`: only where an answer was still coming; the messages with
 * that answer as far as it was shown. Such an answer is continued from `messages`, because the router sends it again from its start.
 */
export interface Saved {
  id: string;
  model?: string;
  messages: UIMessage[];
  shown?: UIMessage[];
}

const KEY = "chat";

/** A new chat. The id is hard to guess: without a key it is all that a client needs to find the answer again. */
export function fresh(model?: string): Saved {
  return { id: `chat-${crypto.randomUUID?.() ?? generateId()}`, model, messages: [] };
}

export function load(): Saved {
  try {
    return (JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Saved | null) ?? fresh();
  } catch {
    return fresh();
  }
}

/** Save a chat. Where the browser has no room for its images (5 MB for a page), they are left out. */
export function save(chat: Saved): void {
  for (const kept of [chat, { ...chat, messages: withoutFiles(chat.messages), shown: chat.shown && withoutFiles(chat.shown) }]) {
    try {
      return sessionStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      continue;
    }
  }
}

function withoutFiles(messages: UIMessage[]): UIMessage[] {
  return messages.map((message) => ({
    ...message,
    parts: message.parts.map((part) => (part.type === "file" ? { type: "text", text: `[${part.filename ?? "image"}]` } : part)),
  }));
}
