/** The way to the router, for the handlers below app/api. Runs on this server alone: no browser sees the address or the key. */

const ROUTER = process.env.ROUTER_URL ?? "http://localhost:8000";
const KEY = process.env.ROUTER_KEY;

/** Headers of one connection, or of a compression that `fetch` has already undone. */
const OF_ONE_CONNECTION = ["connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"];

/**
 * Pass a request on to the router, and its answer back: status, headers and body as they are. An error before the first word thus
 * reaches the page as an error, with its sentence and its Retry-After, and a stream reaches it unread.
 *
 * `signal` is the page's: when it is closed or reloaded, the router reads that it left. With `resume.grace` in routes.yaml the
 * answer goes on for that time, so that a page which is reloaded continues it, and one that stays away costs nothing more.
 */
export async function forward(request: Request, path: string): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(ROUTER + path, {
      method: request.method,
      headers: { "content-type": "application/json", ...(KEY && { authorization: `Bearer ${KEY}` }) },
      body: request.method === "POST" ? await request.text() : undefined,
      cache: "no-store",
      signal: request.signal,
    });
  } catch (error) {
    if (!request.signal.aborted) console.error("The router cannot be reached:", error);
    return Response.json({ message: "The chat service cannot be reached. Please try again later." }, { status: 502 });
  }
  const headers = new Headers(answer.headers);
  for (const name of OF_ONE_CONNECTION) headers.delete(name);
  return new Response(answer.body, { status: answer.status, headers });
}
