/** POST and DELETE /api/chat of vercel/chatbot as of July 2026 (AI SDK 7), with the router in the place of `streamText`. */
import { geolocation, ipAddress } from "@vercel/functions";
import { consumeStream, createUIMessageStream, createUIMessageStreamResponse } from "ai";
import { checkBotId } from "botid/server";
import { after } from "next/server";
import { auth, type UserType } from "@/app/(auth)/auth";
import { entitlementsByUserType } from "@/lib/ai/entitlements";
import { allowedModelIds, DEFAULT_CHAT_MODEL } from "@/lib/ai/models";
import {
  deleteChatById,
  getChatById,
  getDocumentById,
  getMessageCountByUserId,
  getMessagesByChatId,
  saveChat,
  saveDocument,
  saveMessages,
  saveSuggestions,
  updateChatTitleById,
  updateMessage,
} from "@/lib/db/queries";
import { ChatbotError } from "@/lib/errors";
import { ask, type ChatDocument, documentIds, Refusal, saving, titleOf } from "@/lib/pointsman";
import { checkIpRateLimit } from "@/lib/ratelimit";
import type { ChatMessage } from "@/lib/types";
import { convertToUIMessages, generateUUID } from "@/lib/utils";
import { type PostRequestBody, postRequestBodySchema } from "./schema";

export const maxDuration = 300;

export async function POST(request: Request) {
  let body: PostRequestBody;
  try {
    body = postRequestBodySchema.parse(await request.json());
  } catch {
    return new ChatbotError("bad_request:api").toResponse();
  }
  try {
    return await answered(request, body);
  } catch (error) {
    if (error instanceof Refusal || error instanceof ChatbotError) {
      return error.toResponse();
    }
    console.error(error);
    return new ChatbotError("offline:chat").toResponse();
  }
}

async function answered(request: Request, body: PostRequestBody): Promise<Response> {
  const { id, selectedChatModel, selectedVisibilityType } = body;
  const message = body.message as ChatMessage | undefined;
  const [bot, session] = await Promise.all([checkBotId().catch(() => null), auth()]);
  if (bot?.isBot) {
    return new ChatbotError("forbidden:api").toResponse();
  }
  if (!session?.user) {
    return new ChatbotError("unauthorized:chat").toResponse();
  }
  await checkIpRateLimit(ipAddress(request));
  const userId = session.user.id;
  const userType: UserType = session.user.type;
  if ((await getMessageCountByUserId({ id: userId, differenceInHours: 1 })) > entitlementsByUserType[userType].maxMessagesPerHour) {
    return new ChatbotError("rate_limit:chat").toResponse();
  }

  const chat = await getChatById({ id });
  if (chat && chat.userId !== userId) {
    return new ChatbotError("forbidden:chat").toResponse();
  }
  const isNew = !chat && message !== undefined;
  if (isNew) {
    await saveChat({ id, userId, title: "New chat", visibility: selectedVisibilityType });
  }
  const saved = chat ? convertToUIMessages(await getMessagesByChatId({ id })) : [];
  // Without a message the page continues its last one: the user has decided about a tool call.
  const messages = message === undefined ? decided(saved, (body.messages ?? []) as ChatMessage[]) : [...saved, message];
  if (message !== undefined) {
    await saveMessages({
      messages: [{ chatId: id, id: message.id, role: "user", parts: message.parts, attachments: [], createdAt: new Date() }],
    });
  }

  const model = allowedModelIds.has(selectedChatModel) ? selectedChatModel : DEFAULT_CHAT_MODEL;
  const documents = await documentsOf(messages, userId);
  const { longitude, latitude, city, country } = geolocation(request);
  // Awaited before the stream begins: what the router refuses is a status of this response, which the page shows.
  const answer = await ask({ chatId: id, userId, model, messages, documents, hints: { longitude, latitude, city, country } });

  const stream = createUIMessageStream<ChatMessage>({
    generateId: generateUUID,
    originalMessages: message === undefined ? messages : undefined,
    execute: async ({ writer }) => {
      const store = {
        saveDocument: (document: ChatDocument) => saveDocument({ ...document, userId }),
        saveSuggestions: async (documentId: string, suggestions: Record<string, unknown>[]) => {
          const { createdAt } = await getDocumentById({ id: documentId });
          const more = { userId, createdAt: new Date(), documentCreatedAt: createdAt };
          await saveSuggestions({ suggestions: suggestions.map((one) => ({ ...one, ...more })) as never });
        },
      };
      writer.merge(answer.pipeThrough(saving(documents, store)) as never);
      if (isNew) {
        const title = await titleOf(message, userId).catch(() => null);
        if (title !== null) {
          await updateChatTitleById({ chatId: id, title });
          writer.write({ type: "data-chat-title", data: title });
        }
      }
    },
    onEnd: async ({ messages: made }) => {
      const known = new Set(message === undefined ? saved.map((one) => one.id) : []);
      await Promise.all(made.filter((one) => known.has(one.id)).map((one) => updateMessage({ id: one.id, parts: one.parts })));
      const fresh = made.filter((one) => !known.has(one.id));
      if (fresh.length > 0) {
        await saveMessages({
          messages: fresh.map((one) => ({ chatId: id, id: one.id, role: one.role, parts: one.parts, attachments: [], createdAt: new Date() })),
        });
      }
    },
    onError: () => "The answer failed. Please try again.",
  });
  // Read to its end whoever leaves: what was written is saved, and a page that is loaded again finds it.
  return createUIMessageStreamResponse({ stream, consumeSseStream: ({ stream: copy }) => after(consumeStream({ stream: copy })) });
}

/** The saved conversation with the user's decisions about tool calls, which the page sends. Nothing else of what it sends is believed. */
function decided(saved: ChatMessage[], sent: ChatMessage[]): ChatMessage[] {
  const decisions = new Map<string, object>();
  for (const part of sent.flatMap((one) => one.parts)) {
    if ("toolCallId" in part && (part.state === "approval-responded" || part.state === "output-denied")) {
      decisions.set(part.toolCallId, { state: part.state, approval: part.approval });
    }
  }
  const parts = (one: ChatMessage) =>
    one.parts.map((part) => ("toolCallId" in part && decisions.has(part.toolCallId) ? { ...part, ...decisions.get(part.toolCallId) } : part));
  return saved.map((one) => ({ ...one, parts: parts(one) as ChatMessage["parts"] }));
}

async function documentsOf(messages: ChatMessage[], userId: string): Promise<ChatDocument[]> {
  const found = await Promise.all(documentIds(messages).slice(-8).map((id) => getDocumentById({ id })));
  return found.flatMap((one) =>
    one && one.userId === userId && one.kind !== "image" ? [{ id: one.id, title: one.title, kind: one.kind, content: one.content ?? "" }] : []
  );
}

export async function DELETE(request: Request) {
  const id = new URL(request.url).searchParams.get("id");
  if (!id) {
    return new ChatbotError("bad_request:api").toResponse();
  }
  const session = await auth();
  if (!session?.user) {
    return new ChatbotError("unauthorized:chat").toResponse();
  }
  const chat = await getChatById({ id });
  if (chat?.userId !== session.user.id) {
    return new ChatbotError("forbidden:chat").toResponse();
  }
  return Response.json(await deleteChatById({ id }));
}
