/** app/api/chat/route.ts of a Next.js app: the AI SDK's server half asks the router instead of OpenAI. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, convertToModelMessages, streamText, type UIMessage } from "ai";

const router = createOpenAICompatible({ name: "pointsman", baseURL: process.env.ROUTER_URL ?? "http://localhost:8000/v1" });

export async function POST(request: Request): Promise<Response> {
  const { messages, model = "chat-model" }: { messages: UIMessage[]; model?: string } = await request.json();
  const answer = streamText({
    model: router(model),
    messages: await convertToModelMessages(messages),
    abortSignal: request.signal, // the stop button, through to the model
    maxRetries: 0, // the router has tried again and elsewhere already
  });
  return answer.toUIMessageStreamResponse({
    // The AI SDK hides errors from users; what the router says in one is made for them.
    onError: (error) => (APICallError.isInstance(error) ? error.message : "The answer was cut off. Please try again."),
  });
}
