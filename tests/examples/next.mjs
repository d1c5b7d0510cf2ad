// The handlers of examples/nextjs, bundled by esbuild, before the page: what Next does for them, as far as a test needs it.
// node next.mjs FOLDER: serves FOLDER/page.{js,css} and the handlers in FOLDER/app/api/**/route.js; prints its port.
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, relative, sep } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const api = join(folder, "app", "api");
const FILES = {
  "/": ["text/html; charset=utf-8", '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Chat</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"><body><script src="/page.js"></script>'],
  "/page.js": ["text/javascript", readFileSync(join(folder, "page.js"))],
  "/page.css": ["text/css", readFileSync(join(folder, "page.css"))],
};

const handlers = await Promise.all(
  readdirSync(api, { recursive: true })
    .filter((name) => name.endsWith("route.js"))
    .map(async (name) => ({
      segments: ["api", ...relative(".", name).split(sep).slice(0, -1)],
      module: await import(pathToFileURL(join(api, name)).href),
    })),
);

/** The handler of a path, and the values of its [names]; none where no folder has that path. */
function found(path) {
  const asked = path.slice(1).split("/").map(decodeURIComponent);
  for (const { segments, module } of handlers) {
    if (segments.length !== asked.length) continue;
    const params = {};
    const fits = segments.every((one, at) => (one.startsWith("[") ? (params[one.slice(1, -1)] = asked[at]) : one === asked[at]));
    if (fits) return { module, params };
  }
  return undefined;
}

createServer(async (incoming, outgoing) => {
  const url = new URL(incoming.url, `http://${incoming.headers.host}`);
  if (FILES[url.pathname]) {
    const [type, content] = FILES[url.pathname];
    return outgoing.writeHead(200, { "content-type": type }).end(content);
  }
  const handler = found(url.pathname);
  if (!handler?.module[incoming.method]) return outgoing.writeHead(404).end();
  const left = new AbortController();
  outgoing.on("close", () => left.abort()); // as Next does: `signal` ends when the browser leaves
  const body = incoming.method === "GET" ? undefined : Readable.toWeb(incoming);
  const request = new Request(url, { method: incoming.method, headers: incoming.headers, body, duplex: "half", signal: left.signal });
  const answer = await handler.module[incoming.method](request, { params: Promise.resolve(handler.params) });
  outgoing.writeHead(answer.status, Object.fromEntries(answer.headers));
  outgoing.flushHeaders();
  try {
    for await (const piece of answer.body ?? []) outgoing.write(piece);
    outgoing.end();
  } catch {
    outgoing.destroy(); // the browser left, or the router broke off
  }
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
process.stdin.on("end", () => process.exit()).resume(); // ends with the test, however that ends
