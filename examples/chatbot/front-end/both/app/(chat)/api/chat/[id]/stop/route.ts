/** POST /api/chat/{id}/stop: the stop button. To leave the page does not stop an answer, so the page says it. */
import { auth } from "@/app/(auth)/auth";
import { getChatById } from "@/lib/db/queries";
import { Refusal, stopAnswer } from "@/lib/pointsman";

export async function POST(_: Request, { params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  const [session, chat] = await Promise.all([auth(), getChatById({ id })]);
  if (!session?.user || chat?.userId !== session.user.id) {
    return Response.json({ code: "forbidden:chat" }, { status: 403 });
  }
  try {
    await stopAnswer(id, session.user.id);
  } catch (error) {
    if (!(error instanceof Refusal)) {
      throw error;
    }
  }
  return new Response(null, { status: 204 });
}
