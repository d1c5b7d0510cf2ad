// One conversation with the front end, by the SDK's own chat in Node:  node drive.mjs <packages> <base> <deeds as JSON>
import { pathToFileURL } from "node:url";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { chatOf } from "./chat.mjs";

const [packages, base, deeds] = process.argv.slice(2);
const { exports } = JSON.parse(await readFile(join(packages, "ai/package.json"), "utf8"));
const ai = await import(pathToFileURL(join(packages, "ai", exports["."].import)));
const data = [];
const errors = [];
const chat = chatOf(ai, { base, id: crypto.randomUUID(), onData: ({ type, data: value }) => data.push([type, value]), onError: (error) => errors.push(error.message) });
for (const text of JSON.parse(deeds)) await chat.sendMessage({ text });
console.log(JSON.stringify({ id: chat.id, status: chat.status, messages: chat.messages, data, errors }));
