// @ai-sdk/gateway, with the AI SDK around it. One case in; what the application would have in hand out.
import { existsSync } from "node:fs";
import { createGateway } from "@ai-sdk/gateway";
import * as newest from "./node_modules/ai7/node_modules/ai/dist/index.js";
import { aiOf } from "./release.mjs";

const { Output } = newest;
const WEATHER = { type: "object", properties: { location: { type: "string" } }, required: ["location"] };

export async function run({ base, path = "/v4/ai", model, deeds, tools = {}, key = "sk-client", release }) {
  const { create, ai } = release ? await made(release) : { create: createGateway, ai: newest };
  const gateway = create({ baseURL: base + path, apiKey: key });
  const saw = { text: "", thoughts: "", parts: [], steps: 0, finish: null, usage: null, error: null, sources: [] };
  const messages = [];
  for (const deed of deeds) {
    if (deed.text !== undefined) messages.push({ role: "user", content: deed.content ?? deed.text });
    try {
      await DEEDS[deed.do]({ ai, gateway, deed, saw, messages, asked: asked(ai, gateway, model, messages, tools, deed, saw) });
    } catch (error) {
      saw.error = failure(error);
      break;
    }
  }
  return saw;
}

/** An older release of the SDK, with the gateway that it was made with. */
async function made(release) {
  const nested = new URL(`node_modules/${release}/node_modules/@ai-sdk/gateway/dist/index.mjs`, import.meta.url);
  const home = existsSync(nested) ? nested : new URL("node_modules/ai/node_modules/@ai-sdk/gateway/dist/index.mjs", import.meta.url);
  const [{ createGateway: create }, ai] = await Promise.all([import(home.href), aiOf(release)]);
  return { create, ai };
}

function asked({ jsonSchema, stepCountIs, tool }, gateway, model, messages, tools, { options = {}, schema }, saw) {
  const own = Object.entries(tools).map(([name, given]) => [
    name,
    tool({
      description: "A tool of the application's.",
      inputSchema: jsonSchema(WEATHER),
      execute: (input) => {
        saw.parts.push(["ran", name, input]);
        return given;
      },
    }),
  ]);
  return {
    model: gateway(model),
    messages,
    maxRetries: 0,
    stopWhen: stepCountIs(4),
    ...(own.length > 0 && { tools: Object.fromEntries(own) }),
    ...(schema && { output: Output.object({ schema: jsonSchema(schema) }) }),
    ...options,
  };
}

const DEEDS = {
  /** streamText, its parts read one by one. */
  async stream({ ai, asked, deed, saw, messages }) {
    const leaving = new AbortController();
    const result = ai.streamText({ ...asked, abortSignal: leaving.signal, onError: () => {} });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") saw.text += part.text;
      if (part.type === "reasoning-delta") saw.thoughts += part.text;
      if (part.type === "error") saw.error = failure(part.error);
      note(part, saw);
      if (deed.stop && saw.text.includes(deed.stop)) leaving.abort();
    }
    if (leaving.signal.aborted) return;
    if (saw.error) return;
    saw.finish = await result.finishReason;
    saw.usage = await result.totalUsage;
    saw.steps = (await result.steps).length;
    messages.push(...(await result.response).messages);
    if (deed.schema) saw.output = await result.output;
  },

  /** generateText. */
  async generate({ ai, asked, deed, saw, messages }) {
    const result = await ai.generateText(asked);
    saw.text += result.steps.map(({ text }) => text).join("");
    saw.thoughts += result.steps.map(({ reasoningText }) => reasoningText ?? "").join("");
    for (const part of result.steps.flatMap(({ content }) => content)) note(part, saw);
    saw.finish = result.finishReason;
    saw.usage = result.totalUsage;
    saw.steps = result.steps.length;
    messages.push(...result.response.messages);
    if (deed.schema) saw.output = result.output;
  },

  async models({ gateway, saw }) {
    saw.models = (await gateway.getAvailableModels()).models;
  },

  async embed({ ai, gateway, deed, saw }) {
    const model = (gateway.embeddingModel ?? gateway.textEmbeddingModel)(deed.model);
    const made = await ai.embedMany({ model, values: deed.values, maxRetries: 0, ...deed.options });
    saw.vectors = made.embeddings;
    saw.usage = made.usage;
    saw.warnings = made.warnings;
  },
};

/** What there is besides text: calls, and what came of them. */
function note(part, saw) {
  if (part.type === "tool-call") saw.parts.push(["call", part.toolName, part.input, part.providerExecuted === true]);
  if (part.type === "tool-result") saw.parts.push(["result", part.toolName, part.output]);
  if (part.type === "source") saw.parts.push(["source", part.url, part.title ?? ""]);
  if (part.type === "file") saw.parts.push(["file", part.file.mediaType, part.file.base64]);
  if (part.type === "tool-error") saw.parts.push(["error", part.toolName, part.error?.message ?? part.error]);
}

function failure(error) {
  const { name, message, statusCode = null, type = null, code = null } = error;
  return { name: name ?? null, message, status: statusCode, type, code };
}
