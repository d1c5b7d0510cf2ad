/** GET /api/chat/{id}/stream: a page that is loaded again finds its answer, which the router keeps. No Redis of the front end's own is needed. */
import { auth } from "@/app/(auth)/auth";
import { getChatById } from "@/lib/db/queries";
import { findAnswer, Refusal } from "@/lib/pointsman";

export async function GET(_: Request, { params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  const [session, chat] = await Promise.all([auth(), getChatById({ id })]);
  if (!session?.user || chat?.userId !== session.user.id) {
    return Response.json({ code: "forbidden:chat" }, { status: 403 });
  }
  try {
    return await findAnswer(id, session.user.id);
  } catch (error) {
    if (error instanceof Refusal) {
      return error.toResponse();
    }
    throw error;
  }
}
