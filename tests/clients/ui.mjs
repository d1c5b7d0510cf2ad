// AI SDK 5, 6 and 7: their useChat over their own transports, rendered. One case in, what the user would see out.
import { Held, settled } from "./hook.mjs";
import { aiOf } from "./release.mjs";

const packages = new Map();

/** The hook of a release, and the `ai` it was made with. */
async function release(client) {
  if (!packages.has(client)) {
    const [{ useChat, experimental_useObject: useObject }, ai] = await Promise.all([import(client), aiOf(client)]);
    packages.set(client, { useChat, useObject, ai });
  }
  return packages.get(client);
}

export async function run(wanted) {
  return wanted.schema ? shown(wanted) : chatted(wanted);
}

async function chatted({ client, base, path = "/api/chat", chat, model, deeds, protocol = "data", tools = {} }) {
  const { useChat, ai } = await release(client);
  const events = [];
  let finish = null;
  let held;
  let tab;

  const Transport = protocol === "text" ? ai.TextStreamChatTransport : ai.DefaultChatTransport;
  const open = (messages) => {
    tab = new AbortController();
    const { signal } = tab;
    const transport = new Transport({
      api: base + path,
      body: { model },
      fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.any([signal, ...(init.signal ? [init.signal] : [])]) }),
    });
    held = new Held(() =>
      useChat({
        id: chat,
        messages,
        transport,
        sendAutomaticallyWhen: ai.lastAssistantMessageIsCompleteWithToolCalls,
        onToolCall: ({ toolCall: { toolName: tool, toolCallId } }) => {
          if (tool in tools) {
            events.push(`tool ${tool}`);
            const { addToolOutput, addToolResult } = held.current;
            void (addToolOutput ?? addToolResult)({ tool, toolCallId, output: tools[tool] });
          }
        },
        onFinish: ({ message, isAbort, isDisconnect, finishReason }) => {
          events.push(isAbort ? "aborted" : isDisconnect ? "disconnected" : "finish");
          const { finishReason: reason, usage } = message.metadata ?? {};
          finish = { reason: reason ?? finishReason ?? null, usage: usage ? { input: usage.inputTokens, output: usage.outputTokens } : null };
        },
        onError: () => events.push("error"),
        onData: ({ type }) => events.push(type),
      }),
    );
  };

  /** Does something that asks, and comes back when the answer is over, or when a mark was read in it. */
  const asking = async (ask, { stop, leave, end }) => {
    const mark = stop ?? leave ?? end;
    let over = false;
    let seen;
    const read = new Promise((resolve) => (seen = resolve));
    held.watch = ({ messages }) => {
      const last = messages.at(-1);
      if (mark === undefined || over || last?.role !== "assistant" || !JSON.stringify(last.parts.map(part)).includes(mark)) return;
      over = true;
      if (stop !== undefined) void held.current.stop();
      // A page that can be opened again leaves an answer without ending it; so it asks the server to.
      if (end !== undefined) void fetch(`${base}/api/chat/${chat}/stop`, { method: "POST" });
      seen();
    };
    const done = ask(held.current);
    if (leave === undefined) {
      await done;
      await held.until(({ status }) => status === "ready" || status === "error");
    } else await read;
  };

  open([]);
  for (const deed of deeds) {
    await settled();
    switch (deed.do) {
      case "send":
        await asking((hook) => hook.sendMessage({ text: deed.text, ...(deed.files && { files: deed.files.map(file) }) }), deed);
        break;
      case "regenerate":
        await asking((hook) => hook.regenerate(), deed);
        break;
      case "continue": // the conversation as it is: its last message is the assistant's
        await asking((hook) => hook.sendMessage(), deed);
        break;
      case "decide": // the user allows each call that waits, or denies it
        for (const one of held.current.messages.at(-1).parts) {
          if (one.state === "approval-requested") await held.current.addToolApprovalResponse({ id: one.approval.id, approved: deed.approved });
        }
        await settled();
        await asking((hook) => hook.sendMessage(), deed);
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
        await asking((hook) => hook.resumeStream(), deed);
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

/** useObject: a page that shows an object while its JSON comes in as plain text. */
async function shown({ client, base, model, schema }) {
  const { useObject, ai } = await release(client);
  let finished;
  const held = new Held(() =>
    useObject({ api: `${base}/api/chat?protocol=text`, schema: ai.jsonSchema(schema), onFinish: (end) => (finished = end), onError: () => {} }),
  );
  await settled();
  const response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  held.current.submit({ model, messages: [{ role: "user", content: "Hi" }], response_format });
  await held.until(({ isLoading, error }) => !isLoading && (finished || error));
  const { object, error } = held.current;
  held.leave();
  return { object: object ?? null, final: finished?.object ?? null, error: error?.message ?? null };
}

function file({ name, type, url }) {
  return { type: "file", mediaType: type, url, filename: name };
}

function part(one) {
  switch (one.type) {
    case "text":
      return said("text", one);
    case "reasoning":
      return said("thought", one);
    case "step-start":
      return ["step"];
    case "file":
      return ["file", one.mediaType, one.url];
    case "source-url":
      return ["source", one.url, one.title ?? ""];
    default:
      break;
  }
  if (!one.type.startsWith("tool-") && one.type !== "dynamic-tool") return [one.type];
  const head = ["call", one.toolName ?? one.type.slice("tool-".length), one.input ?? null];
  if (one.state === "output-available") return [...head, "result", one.output];
  if (one.state === "output-error") return [...head, "error", one.errorText];
  return [...head, one.state === "input-available" ? "open" : one.state];
}

/** A part that was never ended stays `streaming` for ever, and is stored so. A part the user wrote has no state. */
function said(kind, { text, state }) {
  return state === "streaming" ? [kind, text, "open"] : [kind, text];
}
