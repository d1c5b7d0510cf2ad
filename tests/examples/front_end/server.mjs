// A front end around the example's own routes: they are compiled and served as Next.js would, over a database in memory.
//   node server.mjs <folder of the routes> <packages of the AI SDK> <other packages> <typescript>
import { createServer } from "node:http";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";

const [folder, packages, others, typescript] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const { default: ts } = await import(pathToFileURL(join(typescript, "lib/typescript.js")));
const { rows } = await import("./database.mjs");

/** Where a package's module stands, for the page and for the routes. */
async function entry(name) {
  for (const root of [packages, others]) {
    const at = join(root, name);
    const { exports, module, main } = JSON.parse(await readFile(join(at, "package.json"), "utf8").catch(() => "{}"));
    const found = exports?.["."]?.import ?? module ?? main;
    if (found) return join(at, typeof found === "string" ? found : found.default);
  }
  throw new Error(`no package ${name}`);
}
const MODULES = Object.fromEntries(
  await Promise.all(["ai", "@ai-sdk/gateway", "@ai-sdk/provider", "@ai-sdk/provider-utils", "@workflow/serde", "@standard-schema/spec"].map(async (name) => [name, await entry(name)])),
);
Object.assign(MODULES, {
  "zod/v4": join(others, "zod/v4/index.js"),
  "zod/v3": join(others, "zod/v3/index.js"),
  zod: join(others, "zod/index.js"),
  "eventsource-parser/stream": join(others, "eventsource-parser/dist/stream.js"),
  "@opentelemetry/api": join(others, "@opentelemetry/api/build/esm/index.js"),
});

/** Compile one of the example's modules, and return its address. */
async function compiled(path) {
  const text = await readFile(join(folder, path), "utf8");
  const { outputText } = ts.transpileModule(text, { compilerOptions: { module: "esnext", target: "es2022" } });
  const linked = outputText.replace(/from "([^"]+)"/g, (_, name) => {
    if (name === "ai") return `from "${pathToFileURL(MODULES.ai)}"`;
    return `from "${name === "@/lib/pointsman" ? pathToFileURL(join(folder, "lib/pointsman.mjs")) : pathToFileURL(join(here, "database.mjs"))}"`;
  });
  const made = join(folder, path.replace(/\.ts$/, ".mjs"));
  await writeFile(made, linked);
  return pathToFileURL(made);
}
await compiled("lib/pointsman.ts");
const route = async (path) => import(await compiled(`app/(chat)/api/chat/${path}route.ts`));
const chat = await route("");
const stream = await route("[id]/stream/");
const stop = await route("[id]/stop/");

async function handled(request) {
  const { pathname, searchParams } = new URL(request.url);
  const [, id, what] = /^\/api\/chat\/([^/]+)\/(stream|stop)$/.exec(pathname) ?? [];
  const params = Promise.resolve({ id });
  if (pathname === "/api/chat") return chat[request.method](request);
  if (what === "stream") return stream.GET(request, { params });
  if (what === "stop") return stop.POST(request, { params });
  if (pathname === "/api/document") return Response.json(rows.documents.filter((one) => one.id === searchParams.get("id")));
  if (pathname === "/api/messages") return Response.json(rows.messages.filter((one) => one.chatId === searchParams.get("chatId")));
  if (pathname === "/rows") {
    await Promise.all(rows.after); // what goes on after its response has ended
    return Response.json({ ...rows, chats: [...rows.chats.values()], after: undefined });
  }
  if (pathname === "/favicon.ico") return new Response(null, { status: 204 });
  if (pathname === "/") {
    const imports = Object.fromEntries(Object.entries(MODULES).map(([name, path]) => [name, `/modules${path}`]));
    const map = JSON.stringify({ imports: { ...imports, "@vercel/oidc": "/oidc.mjs" } });
    const page = await readFile(join(here, "page.html"), "utf8");
    return new Response(page.replace("{}", map), { headers: { "content-type": "text/html; charset=utf-8" } });
  }
  const script = { "content-type": "text/javascript; charset=utf-8" };
  if (pathname === "/oidc.mjs") return new Response("export const getContext = () => ({}); export const getVercelOidcToken = () => '';", { headers: script });
  const file = pathname.startsWith("/modules/") ? decodeURIComponent(pathname.slice("/modules".length)) : join(here, pathname);
  const path = [packages, others, here].some((root) => file.startsWith(root)) && !file.includes("..") ? file : "";
  const found = await readFile(path).catch(() => null);
  if (found !== null) return new Response(found, { headers: script });
  for (const ending of [".js", "/index.js"]) { // some packages leave it out
    const there = await readFile(path + ending).then(() => true, () => false);
    if (there) return new Response(null, { status: 302, headers: { location: pathname + ending } });
  }
  return new Response(null, { status: 404 });
}

const server = createServer(async (incoming, outgoing) => {
  const body = ["GET", "HEAD"].includes(incoming.method) ? undefined : Readable.toWeb(incoming);
  const request = new Request(`http://127.0.0.1${incoming.url}`, { method: incoming.method, headers: incoming.headers, body, duplex: "half" });
  try {
    const response = await handled(request);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    if (response.body === null) return void outgoing.end();
    const reader = response.body.getReader();
    outgoing.on("close", () => void reader.cancel().catch(() => {})); // as a server does for a page that has left
    for (let read = await reader.read(); !read.done; read = await reader.read()) outgoing.write(read.value);
    outgoing.end();
  } catch (error) {
    console.error(error);
    outgoing.destroy();
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0)); // it ends with whoever started it
