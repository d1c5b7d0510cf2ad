/** `npm run chat -- "What's the weather in Beijing?"`: a question, and its answer as it comes. */
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.ROUTER_URL ?? "http://localhost:8000/v1", apiKey: "none" });
const stream = await client.chat.completions.create({
  model: "chat-model",
  messages: [{ role: "user", content: process.argv.slice(2).join(" ") || "Hello" }],
  stream: true,
});
for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? "");
process.stdout.write("\n");
