/** The question as code: for curl and the public clients. The key is never in it. */

import { key } from "../core/api.js";
import { messages, route, textOf } from "./chat.js";

/** @param {string} text */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The address of this server, without a slash at its end. */
const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

/** Tokens of an answer where a client has to name a bound. */
const MAX_TOKENS = 1024;

/** The conversation as plain messages: up to its last question. */
function plain() {
  const all = messages.value.map((one) => ({ role: one.role, content: textOf(one) })).filter((one) => one.content);
  while (all.length && all.at(-1)?.role !== "user") all.pop();
  return all.length ? all : [{ role: "user", content: "Hello" }];
}

/**
 * A JSON value inside of code, after so many blanks.
 * @param {unknown} value
 * @param {number} blanks
 */
const inside = (value, blanks) => JSON.stringify(value, null, 2).replaceAll("\n", `\n${" ".repeat(blanks)}`);

/** @returns {{name: string, code: string}[]} */
export function copies() {
  const asked = plain();
  const model = JSON.stringify(route.value);
  const server = base();
  const openai = JSON.stringify(`${server}/v1`);
  const apiKey = key.value ? '"YOUR_KEY"' : '"none"';
  const bearer = key.value ? ` \\\n  -H 'Authorization: Bearer YOUR_KEY'` : "";
  const headers = key.value ? `\n      headers: { Authorization: "Bearer YOUR_KEY" },` : "";
  return [
    {
      name: "curl",
      code: `curl -N ${shell(`${server}/api/chat`)}${bearer} \\
  -H 'Content-Type: application/json' \\
  -d ${shell(JSON.stringify({ model: route.value, messages: asked }))}`,
    },
    {
      name: "useChat",
      code: `import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

export function useRouter() {
  return useChat({
    transport: new DefaultChatTransport({
      api: ${JSON.stringify(`${server}/api/chat`)},${headers}
      body: { model: ${model} },
    }),
  });
}`,
    },
    {
      name: "OpenAI (Python)",
      code: `from openai import OpenAI

client = OpenAI(base_url=${openai}, api_key=${apiKey})
stream = client.chat.completions.create(
    model=${model},
    messages=${inside(asked, 4)},
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)`,
    },
    {
      name: "OpenAI (Node)",
      code: `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${openai}, apiKey: ${apiKey} });
const stream = await client.chat.completions.create({
  model: ${model},
  messages: ${inside(asked, 2)},
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");`,
    },
    {
      name: "OpenAI Responses (Python)",
      code: `from openai import OpenAI

client = OpenAI(base_url=${openai}, api_key=${apiKey})
stream = client.responses.create(
    model=${model},
    input=${inside(asked, 4)},
    stream=True,
)
for event in stream:
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)`,
    },
    {
      name: "Anthropic (Python)",
      code: `from anthropic import Anthropic

client = Anthropic(base_url=${JSON.stringify(server)}, api_key=${apiKey})
with client.messages.stream(
    model=${model},
    max_tokens=${MAX_TOKENS},
    messages=${inside(asked, 4)},
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)`,
    },
  ];
}
