/** POST and DELETE /api/chat of vercel/ai-chatbot as of December 2025 (AI SDK 5), with the router in the place of `streamText`. */
import { geolocation } from "@vercel/functions";
import { consumeStream, createUIMessageStream, createUIMessageStreamResponse } from "ai";
import { after } from "next/server";
import { auth, type UserType } from "@/app/(auth)/auth";
import { entitlementsByUserType } from "@/lib/ai/entitlements";
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
} from "@/lib/db/queries";
import { ChatSDKError } from "@/lib/errors";
import { ask, type ChatDocument, documentIds, Refusal, saving, titleOf } from "@/lib/pointsman";
import type { ChatMessage } from "@/lib/types";
import { convertToUIMessages, generateUUID } from "@/lib/utils";
import { type PostRequestBody, postRequestBodySchema } from "./schema";

export const maxDuration = 300;

export async function POST(request: Request) {
  let body: PostRequestBody;
  try {
    body = postRequestBodySchema.parse(await request.json());
  } catch {
    return new ChatSDKError("bad_request:api").toResponse();
  }
  try {
    return await answered(request, body);
  } catch (error) {
    if (error instanceof Refusal || error instanceof ChatSDKError) {
      return error.toResponse();
    }
    console.error(error);
    return new ChatSDKError("offline:chat").toResponse();
  }
}

async function answered(request: Request, { id, message: asked, selectedChatModel, selectedVisibilityType }: PostRequestBody): Promise<Response> {
  const message = asked as ChatMessage;
  const session = await auth();
  if (!session?.user) {
    return new ChatSDKError("unauthorized:chat").toResponse();
  }
  const userId = session.user.id;
  const userType: UserType = session.user.type;
  if ((await getMessageCountByUserId({ id: userId, differenceInHours: 24 })) > entitlementsByUserType[userType].maxMessagesPerDay) {
    return new ChatSDKError("rate_limit:chat").toResponse();
  }

  const chat = await getChatById({ id });
  if (chat && chat.userId !== userId) {
    return new ChatSDKError("forbidden:chat").toResponse();
  }
  if (!chat) {
    await saveChat({ id, userId, title: "New chat", visibility: selectedVisibilityType });
  }
  const messages = [...(chat ? convertToUIMessages(await getMessagesByChatId({ id })) : []), message];
  await saveMessages({
    messages: [{ chatId: id, id: message.id, role: "user", parts: message.parts, attachments: [], createdAt: new Date() }],
  });

  const documents = await documentsOf(messages, userId);
  const { longitude, latitude, city, country } = geolocation(request);
  // Awaited before the stream begins: what the router refuses is a status of this response, which the page shows.
  const answer = await ask({ chatId: id, userId, model: selectedChatModel, messages, documents, hints: { longitude, latitude, city, country } });

  const stream = createUIMessageStream<ChatMessage>({
    generateId: generateUUID,
    execute: async ({ writer }) => {
      const store = {
        saveDocument: (document: ChatDocument) => saveDocument({ ...document, userId }),
        saveSuggestions: async (documentId: string, suggestions: Record<string, unknown>[]) => {
          const { createdAt } = await getDocumentById({ id: documentId });
          const saved = { userId, createdAt: new Date(), documentCreatedAt: createdAt };
          await saveSuggestions({ suggestions: suggestions.map((one) => ({ ...one, ...saved })) as never });
        },
      };
      writer.merge(answer.pipeThrough(saving(documents, store)) as never);
      if (!chat) {
        const title = await titleOf(message, userId).catch(() => null);
        if (title !== null) {
          await updateChatTitleById({ chatId: id, title });
          writer.write({ type: "data-chat-title", data: title });
        }
      }
    },
    onFinish: async ({ messages: made }) => {
      await saveMessages({
        messages: made.map((one) => ({ chatId: id, id: one.id, role: one.role, parts: one.parts, attachments: [], createdAt: new Date() })),
      });
    },
    onError: () => "The answer failed. Please try again.",
  });
  // Read to its end whoever leaves: what was written is saved, and a page that is loaded again finds it.
  return createUIMessageStreamResponse({ stream, consumeSseStream: ({ stream: copy }) => after(consumeStream({ stream: copy })) });
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
    return new ChatSDKError("bad_request:api").toResponse();
  }
  const session = await auth();
  if (!session?.user) {
    return new ChatSDKError("unauthorized:chat").toResponse();
  }
  const chat = await getChatById({ id });
  if (chat?.userId !== session.user.id) {
    return new ChatSDKError("forbidden:chat").toResponse();
  }
  return Response.json(await deleteChatById({ id }));
}
