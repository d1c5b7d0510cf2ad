// @ai-sdk/gateway, with the AI SDK around it. One case in; what the application would have in hand out.
import { createGateway } from "@ai-sdk/gateway";
import { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "./node_modules/ai7/node_modules/ai/dist/index.js";

const WEATHER = jsonSchema({ type: "object", properties: { location: { type: "string" } }, required: ["location"] });

export async function run({ base, path = "/v4/ai", model, deeds, tools = {}, key = "sk-client" }) {
  const gateway = createGateway({ baseURL: base + path, apiKey: key });
  const saw = { text: "", thoughts: "", parts: [], steps: 0, finish: null, usage: null, error: null, sources: [] };
  const messages = [];
  for (const deed of deeds) {
    if (deed.text !== undefined) messages.push({ role: "user", content: deed.content ?? deed.text });
    try {
      await DEEDS[deed.do]({ gateway, deed, saw, messages, asked: asked(gateway, model, messages, tools, deed, saw) });
    } catch (error) {
      saw.error = failure(error);
      break;
    }
  }
  return saw;
}

function asked(gateway, model, messages, tools, { options = {}, schema }, saw) {
  const own = Object.entries(tools).map(([name, given]) => [
    name,
    tool({
      description: "A tool of the application's.",
      inputSchema: WEATHER,
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
  async stream({ asked, deed, saw, messages }) {
    const leaving = new AbortController();
    const result = streamText({ ...asked, abortSignal: leaving.signal, onError: () => {} });
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
  async generate({ asked, deed, saw, messages }) {
    const result = await generateText(asked);
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

  async embed({ gateway, deed, saw }) {
    const made = await embedMany({ model: gateway.embeddingModel(deed.model), values: deed.values, maxRetries: 0, ...deed.options });
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
