// examples/line-protocol, bundled, as a client has it: cases from stdin, what it read of each to stdout.
// node lines.mjs FOLDER: reads a JSON list of {bytes: base64, cut: bytes of each piece}; prints a list of {lines, error, message}.
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const load = (name) => import(pathToFileURL(join(process.argv[2], name)).href);
const { readLines, toChunks, readUIMessageStream } = await load("client.js");

function body({ bytes, cut }) {
  const whole = Buffer.from(bytes, "base64");
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= whole.length) return controller.close();
      controller.enqueue(new Uint8Array(whole.subarray(at, at + cut)));
      at += cut;
    },
  });
}

async function read(given) {
  const seen = { lines: [], error: "" };
  try {
    for await (const line of readLines(body(given))) seen.lines.push(line);
  } catch (error) {
    seen.error = error.message;
  }
  return seen;
}

/** What the AI SDK makes of its chunks. */
async function message(given) {
  const chunks = ReadableStream.from(toChunks(readLines(body(given))));
  let last;
  try {
    for await (const one of readUIMessageStream({ stream: chunks, onError: () => {} })) last = one;
  } catch {
    // as useChat does: what came until then stays
  }
  return last;
}

const made = [];
for (const given of JSON.parse(await text(process.stdin))) made.push({ ...(await read(given)), message: await message(given) });
process.stdout.write(JSON.stringify(made));
