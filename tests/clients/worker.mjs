// A worker: each line of stdin is a case, each line of stdout what its client saw. Many cases may be under way.
//
//   node worker.mjs ai4|ui|openai     the family whose clients this worker drives
//
// in:  {"id": 1, "client": "ai5.0.26", "base": "http://127.0.0.1:1234", "deeds": [...], ...}
// out: {"id": 1, "saw": {...}}   or, if the script itself is at fault,   {"id": 1, "broken": "..."}
import { createInterface } from "node:readline";

const DEADLINE = 200_000; // milliseconds for one case; it takes a few, on a machine that is not busy
const AT_ONCE = 16;

// Nothing here may leave this machine: the clients are pointed at loopback and at nothing else.
const reach = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : String(input));
  if (url.hostname !== "127.0.0.1") throw new Error(`a client tried to reach ${url.hostname}`);
  return reach(input, init);
};
// What a client prints about its troubles belongs to stderr: stdout carries the answers.
console.log = console.info = console.debug = console.warn = console.error;

const { run } = await import(`./${process.argv[2]}.mjs`);
const waiting = [];
let running = 0;

async function one({ id, ...wanted }) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve({ late: true }), DEADLINE);
  });
  try {
    return { id, saw: await Promise.race([run(wanted), late]) };
  } catch (error) {
    return { id, broken: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function next() {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    void one(waiting.shift()).then((answer) => {
      running -= 1;
      process.stdout.write(`${JSON.stringify(answer)}\n`);
      next();
    });
  }
}

// A client may reject a promise that nobody holds (an aborted fetch); that is no reason for a worker to die.
process.on("unhandledRejection", (reason) => console.error("unhandled:", reason));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    waiting.push(JSON.parse(line));
    next();
  })
  .on("close", () => process.exit(0));
