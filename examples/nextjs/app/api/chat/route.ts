import { forward } from "@/lib/router";

/** A question, and its answer as it comes. The place to check who asks, and which model they may use. */
export async function POST(request: Request): Promise<Response> {
  return forward(request, "/api/chat?protocol=ui-message-stream");
}
