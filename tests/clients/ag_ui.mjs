// @ag-ui/client. One case in; what the application that uses HttpAgent would have before it out. Its pipeline has `verifyEvents` in it:
// a stream that breaks its rules ends a run with an error.
import { HttpAgent } from "@ag-ui/client";

const warnings = [];
console.warn = (...said) => {
  warnings.push(said.map(String).join(" "));
  console.error(...said);
};

/** Finds the answer of a thread again: the same stream of events, asked for with GET. */
class Found extends HttpAgent {
  requestInit(input) {
    const { body, ...init } = super.requestInit(input);
    return { ...init, method: "GET" };
  }
}

export async function run({ base, path = "/api/agui", thread, model, deeds, tools = {}, messages = [], asked = {}, query = "" }) {
  const saw = { messages: [], events: [], error: null, usage: [], outcomes: [], pending: [], runs: 0, custom: [], warnings };
  let agent = new HttpAgent({ url: base + path, threadId: thread, initialMessages: messages });
  for (const deed of deeds) {
    if (deed.text !== undefined) agent.addMessage({ id: crypto.randomUUID(), role: "user", content: deed.content ?? deed.text });
    if (deed.do === "resume") {
      const kept = agent.messages.filter(({ role }) => role === "user");
      agent = new Found({ url: `${base}/api/chat/${agent.threadId}/stream${query}`, threadId: agent.threadId, initialMessages: kept });
    }
    await DEEDS[deed.do]({ agent, saw, deed, base, parameters: { ...asked, ...(model && { forwardedProps: { model, ...asked.forwardedProps } }) }, tools });
    if (saw.error && !deed.stop) break;
  }
  saw.messages = agent.messages.map(normal);
  return saw;
}

const DEEDS = { send: runs, resume: runs, "run-tools": toolsToo };

/** One run, as an application starts it. */
async function runs({ agent, saw, deed, base, parameters }) {
  let text = "";
  saw.pending = [];
  await agent
    .runAgent(parameters, {
      onEvent: ({ event }) => void saw.events.push(event.type),
      onTextMessageContentEvent({ event, textMessageBuffer }) {
        text = textMessageBuffer + event.delta;
        if (deed.stop && text.includes(deed.stop)) agent.abortRun();
        if (deed.end && text.includes(deed.end)) void fetch(`${base}/api/chat/${agent.threadId}/stop`, { method: "POST" });
      },
      onCustomEvent: ({ event }) => void saw.custom.push([event.name, event.value]),
      onRunFinishedEvent({ event, outcome, pendingToolCallIds = [] }) {
        saw.runs += 1;
        saw.outcomes.push(outcome);
        saw.usage = event.usage ?? [];
        saw.finish = event.metadata.finishReason;
        saw.pending = pendingToolCallIds;
      },
      onRunErrorEvent: ({ event }) => void (saw.error = { message: event.message, code: event.code }),
      onRunFailed: ({ error }) => void (saw.error = { message: error.message, status: error.status, payload: error.payload }),
    })
    .catch((error) => (saw.error ??= { message: error.message, status: error.status, payload: error.payload }));
}

/** Runs, and runs again with what the application's own tools gave, until no call is left to it. */
async function toolsToo(given) {
  const { agent, saw, tools, parameters } = given;
  const brought = Object.keys(tools).map((name) => ({ name, description: "A tool of the application's.", parameters: WEATHER }));
  do {
    for (const id of saw.pending) {
      const [call] = agent.messages.flatMap(({ toolCalls = [] }) => toolCalls).filter((one) => one.id === id);
      agent.addMessage({ id: crypto.randomUUID(), role: "tool", toolCallId: id, content: tools[call.function.name] });
    }
    await runs({ ...given, parameters: { ...parameters, tools: brought } });
  } while (!saw.error && saw.pending.length > 0);
}

const WEATHER = { type: "object", properties: { location: { type: "string" } }, required: ["location"] };

function normal({ role, content, toolCalls = [], metadata }) {
  const calls = toolCalls.map(({ function: called }) => [called.name, JSON.parse(called.arguments)]);
  return [role, ...(content === undefined ? [] : [content]), ...calls, ...(metadata?.isError ? ["error"] : [])];
}
