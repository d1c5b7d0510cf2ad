// AI SDK 4: its useChat, rendered. One case in, what the user would see out.
import { Held, settled } from "./hook.mjs";

globalThis.FileList ??= class FileList {}; // what a browser hands over; attachments here come as a list
const packages = new Map();

async function useChatOf(client) {
  if (!packages.has(client)) packages.set(client, (await import(client)).useChat);
  return packages.get(client);
}

export async function run({ client, base, path = "/api/chat", chat, model, deeds, protocol = "data", tools = {} }) {
  const useChat = await useChatOf(client);
  const events = [];
  let finish = null;
  let held;
  let tab;

  const open = (initialMessages) => {
    tab = new AbortController();
    const { signal } = tab;
    held = new Held(() =>
      useChat({
        api: base + path,
        id: chat,
        initialMessages,
        streamProtocol: protocol,
        body: { model },
        fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.any([signal, ...(init.signal ? [init.signal] : [])]) }),
        maxSteps: Object.keys(tools).length ? 5 : 1,
        onToolCall: ({ toolCall }) => {
          if (toolCall.toolName in tools) {
            events.push(`tool ${toolCall.toolName}`);
            return tools[toolCall.toolName];
          }
        },
        onFinish: (_, { finishReason, usage }) => {
          events.push("finish");
          finish = { reason: finishReason, usage: { input: usage.promptTokens, output: usage.completionTokens } };
        },
        onError: () => events.push("error"),
      }),
    );
  };

  /** Does something that asks, and comes back when the answer is over, or when `until` was read of it. */
  const asking = async (ask, { stop, leave, end }) => {
    const mark = stop ?? leave ?? end;
    let over = false;
    let seen;
    const read = new Promise((resolve) => (seen = resolve));
    held.watch = ({ messages }) => {
      const last = messages.at(-1);
      if (mark === undefined || over || last?.role !== "assistant" || !JSON.stringify(last.parts.map(part)).includes(mark)) return;
      over = true;
      if (stop !== undefined) held.current.stop();
      // A page that can be opened again leaves an answer without ending it; so it asks the server to.
      if (end !== undefined) void fetch(`${base}/api/chat/${chat}/stop`, { method: "POST" });
      seen();
    };
    const done = ask(held.current);
    if (leave === undefined) await done;
    else await read;
  };

  open([]);
  for (const deed of deeds) {
    await settled();
    switch (deed.do) {
      case "send":
        await asking((hook) => hook.append({ role: "user", content: deed.text }, { experimental_attachments: deed.files?.map(attachment) }), deed);
        break;
      case "regenerate":
        await asking((hook) => hook.reload(), deed);
        break;
      case "resume": {
        // The page is opened again: what was saved is the conversation up to the user's message.
        const saved = held.current.messages.filter((message) => message.role === "user");
        held.leave();
        tab.abort(); // a closed tab's connection is closed
        await settled();
        events.length = 0;
        open(saved);
        await settled();
        await asking((hook) => hook.experimental_resume(), deed);
        await held.until(({ status }) => status === "ready" || status === "error");
        break;
      }
      default:
        throw new Error(`no such deed: ${deed.do}`);
    }
    await settled();
  }
  const { messages, status, error } = held.current;
  held.leave();
  return {
    messages: messages.map(({ role, parts }) => ({ role, parts: parts.map(part) })),
    ids: messages.map(({ id }) => id),
    status,
    error: error?.message ?? null,
    events,
    finish,
  };
}

function attachment({ name, type, url }) {
  return { name, contentType: type, url };
}

function part(one) {
  switch (one.type) {
    case "text":
      return ["text", one.text];
    case "reasoning":
      return ["thought", one.reasoning];
    case "step-start":
      return ["step"];
    case "tool-invocation": {
      const { state, toolName, args, result } = one.toolInvocation;
      return state === "result" ? ["call", toolName, args, "result", result] : ["call", toolName, args, "open"];
    }
    case "file":
      return ["file", one.mimeType, one.data];
    case "source":
      return ["source", one.source.url, one.source.title ?? ""];
    default:
      return [one.type];
  }
}
