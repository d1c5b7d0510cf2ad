// Libraries for programs, not for pages: openai and @anthropic-ai/sdk for Node, AI SDK's providers. One case in; what the program would have in hand out.
//
//   text, thoughts   what the model said          calls    [tool, arguments] of each call, as the program was given it
//   error            what was raised              object   the structured output, or the vectors
//   usage            tokens read and written      events   what else the library told
//   ran              [tool, arguments, output] of each call that ran at the server
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod/v4";
import { aiOf } from "./release.mjs";

const newest = await aiOf("ai7");
const WEATHER = { type: "object", properties: { location: { type: "string" } }, required: ["location"], additionalProperties: false };
const ABOUT = "Current weather for a city.";
const PERSON = z.object({ name: z.string(), age: z.number() });
const ROUNDS = 4;

/** A program's own tool. */
const weather = ({ location }) => `${location}: 25°C`;

export async function run({ client, base, model, deed, ask = "Hi", stop }) {
  const saw = { text: "", thoughts: "", calls: [], ran: [], error: null, object: null, usage: null, events: [] };
  const { open, ...deeds } = CLIENTS[client];
  try {
    await deeds[deed](open(base), { model, ask, saw, stop, heard: () => stop !== undefined && saw.text.includes(stop) });
  } catch (error) {
    saw.error = failure(error);
  }
  return saw;
}

/** OpenAI's Responses API, as the library streams it. */
const RESPONSES = {
  open: (base) => new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-client", timeout: 10_000 }),

  async stream(openai, { model, ask, saw, heard }) {
    await responded(openai, { model, input: ask }, saw, heard);
  },

  async complete(openai, { model, ask, saw }) {
    const response = await openai.responses.create({ model, input: ask });
    saw.text = response.output_text;
    saw.usage = counted(response.usage);
  },

  /** The answers to the calls are sent with the id of the response that asked them. */
  async tools(openai, { model, ask, saw, heard }) {
    const tools = [{ type: "function", name: "get_weather", description: ABOUT, parameters: WEATHER, strict: true }];
    let asked = { model, input: ask, tools };
    for (let round = 0; round < ROUNDS; round += 1) {
      const { id, output } = await responded(openai, asked, saw, heard);
      const calls = output.filter(({ type }) => type === "function_call");
      if (calls.length === 0) return;
      const results = calls.map((call) => {
        const given = JSON.parse(call.arguments);
        saw.calls.push([call.name, given]);
        return { type: "function_call_output", call_id: call.call_id, output: weather(given) };
      });
      asked = { model, input: results, tools, previous_response_id: id };
    }
  },

  async parse(openai, { model, ask, saw }) {
    const response = await openai.responses.parse({ model, input: ask, text: { format: zodTextFormat(PERSON, "person") } });
    saw.object = response.output_parsed;
  },
};

async function responded(openai, asked, saw, heard) {
  const stream = openai.responses.stream(asked);
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") saw.text += event.delta;
    if (event.type === "response.reasoning_summary_text.delta") saw.thoughts += event.delta;
    if (heard()) {
      stream.abort();
      saw.events.push("aborted");
      return { output: [] };
    }
  }
  const response = await stream.finalResponse();
  for (const { type, name, arguments: given, output } of response.output) if (type === "mcp_call") saw.ran.push([name, JSON.parse(given), output]);
  saw.usage = counted(response.usage);
  return response;
}

/** OpenAI's legacy completions. */
const COMPLETIONS = {
  open: RESPONSES.open,

  async stream(openai, { model, ask, saw, heard }) {
    const stream = await openai.completions.create({ model, prompt: ask, stream: true, stream_options: { include_usage: true } });
    for await (const { choices, usage } of stream) {
      saw.text += choices[0]?.text ?? "";
      if (usage) saw.usage = counted({ input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens });
      if (heard()) {
        stream.controller.abort();
        saw.events.push("aborted");
        return;
      }
    }
  },

  async complete(openai, { model, ask, saw }) {
    const { choices, usage } = await openai.completions.create({ model, prompt: ask });
    saw.text = choices[0].text;
    saw.usage = counted({ input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens });
  },
};

/** OpenAI's chat completions: what openai.mjs does not ask. */
const CHAT = {
  open: RESPONSES.open,

  async parse(openai, { model, ask, saw }) {
    const { zodResponseFormat } = await import("openai/helpers/zod");
    const messages = [{ role: "user", content: ask }];
    const { choices } = await openai.chat.completions.parse({ model, messages, response_format: zodResponseFormat(PERSON, "person") });
    saw.object = choices[0].message.parsed;
  },
};

/** Anthropic's Messages API. */
const MESSAGES = {
  open: (base) => new Anthropic({ baseURL: base, apiKey: "sk-client", timeout: 10_000 }),

  async stream(anthropic, { model, ask, saw, heard }) {
    await messaged(anthropic, { model, max_tokens: 1000, messages: [{ role: "user", content: ask }] }, saw, heard);
  },

  async complete(anthropic, { model, ask, saw }) {
    const { content, usage } = await anthropic.messages.create({ model, max_tokens: 1000, messages: [{ role: "user", content: ask }] });
    saw.text = content.map(({ text }) => text ?? "").join("");
    saw.usage = counted(usage);
  },

  async tools(anthropic, { model, ask, saw, heard }) {
    const tools = [{ name: "get_weather", description: ABOUT, input_schema: WEATHER }];
    const messages = [{ role: "user", content: ask }];
    for (let round = 0; round < ROUNDS; round += 1) {
      const { content, stop_reason } = await messaged(anthropic, { model, max_tokens: 1000, messages, tools }, saw, heard);
      if (stop_reason !== "tool_use") return;
      messages.push({ role: "assistant", content });
      const results = content.filter(({ type }) => type === "tool_use").map(({ id, name, input }) => {
        saw.calls.push([name, input]);
        return { type: "tool_result", tool_use_id: id, content: weather(input) };
      });
      messages.push({ role: "user", content: results });
    }
  },

  async parse(anthropic, { model, ask, saw }) {
    const messages = [{ role: "user", content: ask }];
    const message = await anthropic.messages.parse({ model, max_tokens: 1000, messages, output_config: { format: zodOutputFormat(PERSON) } });
    saw.object = message.parsed_output;
  },
};

async function messaged(anthropic, asked, saw, heard) {
  const stream = anthropic.messages.stream(asked);
  for await (const event of stream) {
    if (event.type === "content_block_delta") {
      saw.text += event.delta.text ?? "";
      saw.thoughts += event.delta.thinking ?? "";
    }
    if (heard()) {
      stream.abort();
      saw.events.push("aborted");
      return { content: [] };
    }
  }
  const message = await stream.finalMessage();
  saw.usage = counted(message.usage);
  return message;
}

/** AI SDK with one of its providers. It would try again by itself, after seconds: the header that forbids it is not for it. */
const aiSdk = (open) => ({
  open,

  async stream(provider, context) {
    await streamed(provider, {}, context);
  },

  async complete(provider, { model, ask, saw }) {
    const { text, usage } = await newest.generateText({ model: provider(model), prompt: ask, maxRetries: 0 });
    saw.text = text;
    saw.usage = counted({ input_tokens: usage.inputTokens, output_tokens: usage.outputTokens });
  },

  async tools(provider, context) {
    const execute = (given) => {
      context.saw.calls.push(["get_weather", given]);
      return weather(given);
    };
    const tools = { get_weather: newest.tool({ description: ABOUT, inputSchema: z.object({ location: z.string() }), execute }) };
    await streamed(provider, { tools, stopWhen: newest.stepCountIs(ROUNDS) }, context);
  },

  /** Output.object: the object grows, and is checked at the end. */
  async parse(provider, { model, ask, saw }) {
    const output = newest.Output.object({ schema: PERSON });
    const result = newest.streamText({ model: provider(model), prompt: ask, maxRetries: 0, output, onError: () => {} });
    for await (const partial of result.partialOutputStream) if (partial) saw.events.push("partial");
    saw.object = await result.output;
  },

  /** The object as far as it has come, once there is something of it. */
  async grow(provider, { model, ask, saw }) {
    const stopping = new AbortController();
    const output = newest.Output.object({ schema: PERSON });
    const result = newest.streamText({ model: provider(model), prompt: ask, maxRetries: 0, output, abortSignal: stopping.signal, onError: () => {} });
    for await (const partial of result.partialOutputStream) {
      saw.object = partial;
      if (partial.name === "Ada") break;
    }
    stopping.abort();
  },

  /** streamObject, the older way to the same. */
  async "stream-object"(provider, { model, ask, saw }) {
    const result = newest.streamObject({ model: provider(model), prompt: ask, maxRetries: 0, schema: PERSON, onError: () => {} });
    for await (const partial of result.partialObjectStream) if (partial) saw.events.push("partial");
    saw.object = await result.object;
  },

  async embed(provider, { model, saw }) {
    const { embeddings } = await newest.embedMany({ model: provider.embedding(model), values: ["soup", "a book"], maxRetries: 0 });
    saw.object = embeddings;
  },
});

async function streamed(provider, more, { model, ask, saw, heard }) {
  const stopping = new AbortController();
  const onError = () => {};
  const asked = { model: provider(model), prompt: ask, maxRetries: 0, abortSignal: stopping.signal, onError, ...more };
  for await (const part of newest.streamText(asked).fullStream) {
    if (part.type === "text-delta") saw.text += part.text;
    if (part.type === "reasoning-delta") saw.thoughts += part.text;
    if (part.type === "error") saw.error = failure(part.error);
    if (part.type === "abort") saw.events.push("aborted");
    if (part.type === "finish") {
      const { inputTokens, outputTokens } = part.totalUsage;
      saw.usage = counted({ input_tokens: inputTokens, output_tokens: outputTokens });
    }
    if (heard()) stopping.abort();
  }
}

const CLIENTS = {
  "openai-node-responses": RESPONSES,
  "openai-node-completions": COMPLETIONS,
  "openai-node-chat": CHAT,
  "anthropic-node": MESSAGES,
  "ai-sdk-openai": aiSdk((base) => createOpenAI({ baseURL: `${base}/v1`, apiKey: "sk-client" })),
  "ai-sdk-openai-chat": aiSdk((base) => {
    const provider = createOpenAI({ baseURL: `${base}/v1`, apiKey: "sk-client" });
    return Object.assign((model) => provider.chat(model), { embedding: provider.embedding });
  }),
  "ai-sdk-openai-completions": aiSdk((base) => createOpenAI({ baseURL: `${base}/v1`, apiKey: "sk-client" }).completion),
  "ai-sdk-anthropic": aiSdk((base) => createAnthropic({ baseURL: `${base}/v1`, apiKey: "sk-client" })),
};

function counted(usage) {
  return usage ? { input: usage.input_tokens ?? 0, output: usage.output_tokens ?? 0 } : null;
}

function failure(error) {
  return { kind: error.constructor.name, status: error.status ?? error.statusCode ?? null, message: error.error?.message ?? error.message ?? String(error) };
}
