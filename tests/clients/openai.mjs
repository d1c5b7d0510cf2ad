// openai for Node. One case in; what the program that uses it would have in hand out.
import OpenAI from "openai";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Current weather for a city.",
    parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] },
  },
};

export async function run({ base, path = "/v1", model, deeds, tools = {} }) {
  const client = new OpenAI({ baseURL: base + path, apiKey: "sk-client", maxRetries: 0, timeout: 10_000 });
  const messages = [];
  const saw = { messages: [], finish: null, error: null, events: [], status: "ready" };
  for (const deed of deeds) {
    if (deed.text !== undefined) messages.push({ role: "user", content: content(deed) });
    const asked = { model, messages, ...(deed.tools && { tools: [WEATHER] }) };
    try {
      await DEEDS[deed.do]({ client, asked, deed, tools, saw, messages });
    } catch (error) {
      saw.status = "error";
      saw.error = failure(error);
      break;
    }
  }
  saw.messages = messages.map(normal);
  return saw;
}

const DEEDS = {
  /** stream: true, read by hand. */
  async send({ client, asked, deed, saw, messages }) {
    const stream = await client.chat.completions.create({ ...asked, stream: true, ...(deed.usage && { stream_options: { include_usage: true } }) });
    const message = { role: "assistant", content: "", thought: "", tool_calls: [] };
    messages.push(message);
    for await (const { choices, usage } of stream) {
      if (usage) saw.usage = counted(usage);
      if (choices.length === 0) continue;
      const [{ delta, finish_reason }] = choices;
      message.content += delta.content ?? "";
      message.thought += delta.reasoning_content ?? delta.reasoning ?? "";
      for (const { index, id, function: said } of delta.tool_calls ?? []) {
        const call = (message.tool_calls[index] ??= { id, type: "function", function: { name: "", arguments: "" } });
        call.function.name += said.name ?? "";
        call.function.arguments += said.arguments ?? "";
      }
      if (finish_reason) saw.finish = finish_reason;
      if (deed.stop && message.content.includes(deed.stop)) {
        stream.controller.abort();
        saw.events.push("aborted");
        break;
      }
    }
  },

  /** The library puts the stream together. */
  async stream({ client, asked, deed, saw, messages }) {
    const runner = client.chat.completions.stream({ ...asked, ...(deed.usage && { stream_options: { include_usage: true } }) });
    const { choices, usage } = await runner.finalChatCompletion();
    messages.push(choices[0].message);
    saw.finish = choices[0].finish_reason;
    if (deed.usage) saw.usage = counted(usage);
  },

  /** stream: false. */
  async complete({ client, asked, saw, messages }) {
    const { choices, usage, object } = await client.chat.completions.create(asked);
    messages.push(choices[0].message);
    saw.finish = choices[0].finish_reason;
    saw.usage = counted(usage);
    saw.events.push(object);
  },

  /** The library runs the program's tools and asks again. */
  async "run-tools"({ client, asked, saw, messages, tools }) {
    const runner = client.chat.completions.runTools({
      ...asked,
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            ...WEATHER.function,
            parse: JSON.parse,
            function: () => {
              saw.events.push("tool get_weather");
              return tools.get_weather;
            },
          },
        },
      ],
    });
    const { choices } = await runner.finalChatCompletion();
    messages.splice(0, Infinity, ...runner.messages);
    saw.finish = choices[0].finish_reason;
  },

  async models({ client, saw }) {
    for await (const { id, object } of client.models.list()) saw.events.push(`${object} ${id}`);
  },

  /** Without an encoding_format the library asks for base64, and makes numbers of it. */
  async embed({ client, asked, deed, saw }) {
    const { texts: input, dimensions, encoding_format } = deed;
    const { data, usage } = await client.embeddings.create({ model: asked.model, input, dimensions, encoding_format });
    saw.vectors = data.map(({ embedding }) => Array.from(embedding));
    saw.usage = { input: usage.prompt_tokens, output: 0, total: usage.total_tokens };
  },
};

function content({ text, files }) {
  if (!files) return text;
  return [{ type: "text", text }, ...files.map(({ url }) => ({ type: "image_url", image_url: { url } }))];
}

function normal({ role, content: said, thought, reasoning_content, tool_calls, tool_call_id }) {
  const parts = [];
  const thoughts = thought || reasoning_content;
  if (thoughts) parts.push(["thought", thoughts]);
  if (role === "tool") return { role, parts: [["result", tool_call_id, said]] };
  if (typeof said === "string" && said) parts.push(["text", said]);
  for (const one of Array.isArray(said) ? said : []) parts.push(one.type === "text" ? ["text", one.text] : ["file", "image", one.image_url.url]);
  for (const { function: called } of tool_calls ?? []) parts.push(["call", called.name, JSON.parse(called.arguments), "open"]);
  return { role, parts };
}

function counted({ prompt_tokens: input, completion_tokens: output, total_tokens: total }) {
  return { input, output, total };
}

function failure(error) {
  return {
    kind: error.constructor.name,
    status: error.status ?? null,
    code: error.code ?? null,
    message: error.error?.message ?? error.message,
    request: error.requestID ?? null,
  };
}
