/** Refused questions and broken answers, in plain words. */

/** A request that was refused. `status`: 0 where nothing answered. `wait`: seconds after which a further try makes sense. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message = "",
    readonly wait = 0,
  ) {
    super(message);
  }
}

/** `fetch` that throws a Refusal unless the answer is good. useChat has it as its `error`, with the status and Retry-After. */
export async function ask(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(input, init);
  } catch (error) {
    if (init?.signal?.aborted) throw error; // the stop button
    throw new Refusal(0);
  }
  if (response.ok) return response;
  const wait = Number(response.headers.get("retry-after")) || 0;
  throw new Refusal(response.status, sentence(await response.text().catch(() => "")), wait);
}

/** The router's own sentence in the body of a refusal: it is made for users. */
function sentence(body: string): string {
  try {
    const { message, error } = JSON.parse(body) as { message?: unknown; error?: unknown };
    return [message, error].find((one) => typeof one === "string") ?? "";
  } catch {
    return ""; // a proxy's page, for instance
  }
}

const MEANINGS: Record<number, [title: string, hint: string]> = {
  0: ["The router cannot be reached.", "Check that it runs, and that its server.cors names the address of this page."],
  401: ["You are not signed in.", "The router knows no valid key of yours."],
  403: ["You may not use this model.", "Choose another model, or ask the operator for access."],
  404: ["This model does not exist any more.", "Choose another model."],
  413: ["This is too large to send.", "Send a smaller image, or start a new chat."],
  429: ["Too many questions for now.", "Please wait a moment."],
};

/** Title, explanation and seconds to wait, for the one who reads the page. */
export function explain(error: Error): { title: string; detail: string; wait: number } {
  if (error instanceof TypeError) return { title: "The answer is not complete.", detail: "The connection was lost.", wait: 0 };
  if (!(error instanceof Refusal)) return { title: "The answer is not complete.", detail: error.message, wait: 0 };
  const { status, message, wait } = error;
  const other = status >= 500 ? "No answer just now." : "This question was refused.";
  const [title, hint] = MEANINGS[status] ?? [other, "Please try again."];
  return { title, detail: message || hint, wait };
}
