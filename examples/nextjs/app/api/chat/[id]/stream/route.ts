import { forward } from "@/lib/router";

type Context = { params: Promise<{ id: string }> };

/** The answer that a page left when it was reloaded: from its start, going on while it runs. 204 where there is none. */
export async function GET(request: Request, { params }: Context): Promise<Response> {
  const { id } = await params;
  return forward(request, `/api/chat/${encodeURIComponent(id)}/stream`);
}
