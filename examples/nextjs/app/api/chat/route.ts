import { createUIMessageStream, createUIMessageStreamResponse, type UIMessage } from "ai";
import { readLines, toChunks } from "@/lib/lines";

/** The ids this front end uses → the ids the router is asked for. Any other id is passed on as it is. */
const modelMapping: Record<string, string> = {
  "chat-model": "gpt-4",
  "chat-model-reasoning": "gpt-4-turbo-preview",
  "title-model": "gpt-3.5-turbo",
  "artifact-model": "gpt-4",
};

/** Where the router is. Next writes the value of such a name into the code when it is built: set it before that. */
const backend = process.env.NEXT_PUBLIC_BACKEND_URL ?? "http://localhost:8000";

export async function POST(request: Request): Promise<Response> {
  const { messages, model = "chat-model" }: { messages: UIMessage[]; model?: string } = await request.json();

  let answer: Response;
  try {
    answer = await fetch(`${backend}/api/chat`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        messages: messages.map(toRouter).filter((message) => message.content),
        model: Object.hasOwn(modelMapping, model) ? modelMapping[model] : model,
        stream: true,
      }),
      cache: "no-store",
      // The user's stop button, or a closed tab: the router hears of it and stops the model.
      signal: request.signal,
    });
  } catch (error) {
    if (!request.signal.aborted) console.error("The router cannot be reached:", error);
    return refused(502, "The chat service cannot be reached.");
  }
  const body = answer.body;
  if (!answer.ok || !body) return refused(answer.status, await reason(answer), answer.headers.get("retry-after"));

  const stream = createUIMessageStream({
    async execute({ writer }) {
      for await (const chunk of toChunks(readLines(body))) writer.write(chunk);
    },
    onError(error) {
      if (!request.signal.aborted) console.error("The answer was cut off:", error);
      return "The answer was cut off. Please try again.";
    },
  });
  return createUIMessageStreamResponse({ stream });
}

/** A UI message as the router takes it. Tools ran in the router: what they said is in the answer's text. */
function toRouter({ role, parts }: UIMessage): { role: string; content: string } {
  return { role, content: parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n") };
}

/** Why the router refused: its `error` is a sentence made for users. */
async function reason(answer: Response): Promise<string> {
  const body: unknown = await answer.json().catch(() => null);
  const safe = body && typeof body === "object" && "error" in body && typeof body.error === "string";
  return safe ? (body.error as string) : `The chat service answered with status ${answer.status}.`;
}

/** useChat shows the body of a refusal as its error's message. */
function refused(status: number, sentence: string, retryAfter: string | null = null): Response {
  return new Response(sentence, {
    status: status >= 400 ? status : 502,
    headers: { "content-type": "text/plain; charset=utf-8", ...(retryAfter && { "retry-after": retryAfter }) },
  });
}
