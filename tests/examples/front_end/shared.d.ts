// The types of vercel/ai-chatbot that its chat routes use, for `tsc`: facts of its modules, without their code.
declare module "next/server" {
  export function after(work: Promise<unknown> | (() => unknown)): void;
}
declare module "@vercel/functions" {
  export function geolocation(request: Request): { city?: string; country?: string; latitude?: string; longitude?: string };
  export function ipAddress(request: Request): string | undefined;
}
declare module "botid/server" {
  export function checkBotId(): Promise<{ isBot: boolean }>;
}
declare module "@/app/(auth)/auth" {
  export type UserType = "guest" | "regular";
  export function auth(): Promise<{ user: { id: string; type: UserType } } | null>;
}
declare module "@/lib/ai/entitlements" {
  export const entitlementsByUserType: Record<"guest" | "regular", { maxMessagesPerDay: number; maxMessagesPerHour: number }>;
}
declare module "@/lib/ai/models" {
  export const allowedModelIds: Set<string>;
  export const DEFAULT_CHAT_MODEL: string;
}
declare module "@/lib/ratelimit" {
  export function checkIpRateLimit(ip: string | undefined): Promise<void>;
}
declare module "@/lib/types" {
  import type { UIMessage } from "ai";
  type Named = { id: string; title: string; kind: "text" | "code" | "sheet"; content: string } | { error: string };
  export type ChatMessage = UIMessage<
    { createdAt: string },
    { id: string; title: string; kind: string; clear: null; finish: null; textDelta: string; "chat-title": string },
    {
      getWeather: { input: { city?: string }; output: object };
      createDocument: { input: { title: string; kind: string }; output: Named };
      updateDocument: { input: { id: string; description: string }; output: Named };
      requestSuggestions: { input: { documentId: string }; output: { id: string; title: string; kind: string; message: string } | { error: string } };
    }
  >;
}
declare module "@/lib/db/queries" {
  import type { ChatMessage } from "@/lib/types";
  type Kind = "text" | "code" | "image" | "sheet";
  type DBMessage = { chatId: string; id: string; role: string; parts: unknown; attachments: unknown; createdAt: Date };
  type Suggestion = {
    id: string; documentId: string; documentCreatedAt: Date; originalText: string; suggestedText: string;
    description: string | null; isResolved: boolean; userId: string; createdAt: Date;
  };
  export function deleteChatById(chat: { id: string }): Promise<unknown>;
  export function getChatById(chat: { id: string }): Promise<{ id: string; userId: string; visibility: "public" | "private" } | null>;
  export function getDocumentById(document: { id: string }): Promise<{ id: string; title: string; kind: Kind; content: string | null; userId: string; createdAt: Date }>;
  export function getMessageCountByUserId(counted: { id: string; differenceInHours: number }): Promise<number>;
  export function getMessagesByChatId(chat: { id: string }): Promise<DBMessage[]>;
  export function saveChat(chat: { id: string; userId: string; title: string; visibility: "public" | "private" }): Promise<unknown>;
  export function saveDocument(document: { id: string; title: string; kind: Kind; content: string; userId: string }): Promise<unknown>;
  export function saveMessages(saved: { messages: DBMessage[] }): Promise<unknown>;
  export function saveSuggestions(saved: { suggestions: Suggestion[] }): Promise<unknown>;
  export function updateChatTitleById(chat: { chatId: string; title: string }): Promise<unknown>;
  export function updateMessage(message: { id: string; parts: ChatMessage["parts"] }): Promise<unknown>;
}
declare module "@/lib/utils" {
  import type { ChatMessage } from "@/lib/types";
  export function convertToUIMessages(messages: unknown[]): ChatMessage[];
  export function generateUUID(): string;
}
declare module "@/lib/errors" {
  class Failed extends Error {
    constructor(code: string, cause?: string);
    toResponse(): Response;
  }
  export { Failed as ChatbotError, Failed as ChatSDKError };
}
declare const process: { env: Record<string, string | undefined> };
