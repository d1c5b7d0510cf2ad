import { forward } from "@/lib/router";

type Context = { params: Promise<{ id: string }> };

/** The stop button: the router ends the answer at once, and its provider's connection. */
export async function POST(request: Request, { params }: Context): Promise<Response> {
  const { id } = await params;
  return forward(request, `/api/chat/${encodeURIComponent(id)}/stop`);
}
