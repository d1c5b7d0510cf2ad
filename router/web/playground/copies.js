/** The question as code: for curl, the AI SDK and OpenAI's clients. The key is never in it. */

import { key } from "../core/api.js";
import { messages, route, textOf } from "./chat.js";

/** @param {string} text */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The address of this server, without a slash at its end. */
const base = () => new URL(".", document.baseURI).href.replace(/\/$/, "");

/** The conversation as plain messages: up to its last question. */
function plain() {
  const all = messages.value.map((one) => ({ role: one.role, content: textOf(one) }));
  while (all.length && all.at(-1)?.role !== "user") all.pop();
  return all.length ? all : [{ role: "user", content: "Hello" }];
}

/** @returns {{name: string, code: string}[]} */
export function copies() {
  const asked = JSON.stringify({ model: route.value, messages: plain() });
  const bearer = key.value ? ` \\\n  -H 'Authorization: Bearer YOUR_KEY'` : "";
  const apiKey = key.value ? "YOUR_KEY" : "none";
  const headers = key.value ? `\n      headers: { Authorization: "Bearer YOUR_KEY" },` : "";
  const written = JSON.stringify(plain(), null, 2);
  return [
    { name: "curl", code: `curl -N ${shell(`${base()}/api/chat`)}${bearer} \\\n  -H 'Content-Type: application/json' \\\n  -d ${shell(asked)}` },
    {
      name: "useChat",
      code: `import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

export function useRouter() {
  return useChat({
    transport: new DefaultChatTransport({
      api: ${JSON.stringify(`${base()}/api/chat`)},${headers}
      body: { model: ${JSON.stringify(route.value)} },
    }),
  });
}`,
    },
    {
      name: "OpenAI (Python)",
      code: `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${base()}/v1`)}, api_key=${JSON.stringify(apiKey)})
stream = client.chat.completions.create(
    model=${JSON.stringify(route.value)},
    messages=${written.replaceAll("\n", "\n    ")},
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)`,
    },
  ];
}
