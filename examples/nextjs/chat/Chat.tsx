"use client";

/**
 * The chat page. `router`: the origin whose /api/chat and /api/models answer; empty where the page's own server passes them on.
 * `headers`: sent with each request, for instance the user's token; an object that stays the same.
 */
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useEffect, useRef, useState } from "react";
import { Composer } from "./Composer";
import { Failure } from "./Failure";
import { Message } from "./Message";
import { useModels } from "./models";
import { ask } from "./refusal";
import { fresh, load, type Saved, save } from "./saved";

const SUGGESTIONS = ["What is the weather in Beijing?", "What is 12 * 7?", "What time is it in Tokyo?"];
const NO_HEADERS = {};

export function Chat({ router, headers = NO_HEADERS }: { router: string; headers?: Record<string, string> }) {
  const [saved, setSaved] = useState<Saved>();
  useEffect(() => setSaved(load()), []); // only a browser has saved chats: a server renders an empty page
  if (!saved) return null;

  function restart(model: string) {
    const chat = fresh(model);
    save(chat);
    setSaved(chat);
  }

  return <Conversation key={saved.id} router={router} headers={headers} saved={saved} restart={restart} />;
}

interface Props {
  router: string;
  headers: Record<string, string>;
  saved: Saved;
  restart: (model: string) => void;
}

function Conversation({ router, headers, saved, restart }: Props) {
  const { models, error: listError, reload } = useModels(router, headers);
  const [chosen, setChosen] = useState(saved.model);
  const model = models.find((one) => one.id === chosen) ?? models[0];
  const chat = useRestoredChat(router, headers, saved, model?.id);
  const { messages, busy, error, sendMessage, regenerate, addToolApprovalResponse } = chat;
  const scroller = useStickyEnd(messages);
  const failure = error ?? listError;

  return (
    <div className="page">
      <header>
        <h1>Chat</h1>
        <select aria-label="Model" value={model?.id ?? ""} disabled={!model} onChange={(event) => setChosen(event.target.value)}>
          {models.map(({ id, name }) => (
            <option key={id} value={id}>
              {name && name !== id ? `${id} · ${name}` : id}
            </option>
          ))}
        </select>
        <button type="button" disabled={busy || messages.length === 0} onClick={() => restart(model?.id ?? "")}>
          New chat
        </button>
      </header>
      <main ref={scroller} tabIndex={0} aria-label="Conversation">
        <div className="column" aria-live="polite" aria-busy={busy}>
          {messages.length === 0 && (
            <div className="greeting">
              <h2>What would you like to know?</h2>
              {SUGGESTIONS.map((text) => (
                <button key={text} type="button" disabled={!model} onClick={() => void sendMessage({ text })}>
                  {text}
                </button>
              ))}
            </div>
          )}
          {messages.map((message, index) => (
            <Message
              key={message.id}
              message={message}
              busy={busy && index === messages.length - 1}
              decide={(id, approved) => void addToolApprovalResponse({ id, approved })}
            />
          ))}
          {busy && messages.at(-1)?.role === "user" && <p className="note waiting">Waiting for the answer…</p>}
          {failure && <Failure error={failure} again={() => (error ? void regenerate() : reload())} />}
        </div>
      </main>
      <Composer
        busy={busy}
        images={model?.input_modalities.includes("image") ?? false}
        send={(text, files) => void sendMessage({ text, files })}
        stop={chat.stop}
      />
    </div>
  );
}

/** useChat, with a chat that outlives a reload, also in the middle of an answer, and a stop that reaches the router. */
function useRestoredChat(router: string, headers: Record<string, string>, saved: Saved, model: string | undefined) {
  const sent = useRef(saved.messages); // what the running answer follows
  const [resuming, setResuming] = useState(saved.shown !== undefined); // until the router says whether the answer is there
  const chosen = useRef(model);
  useEffect(() => {
    chosen.current = model;
  }, [model]);

  const [transport] = useState(
    () =>
      new DefaultChatTransport({
        api: `${router}/api/chat`,
        headers,
        prepareSendMessagesRequest: ({ id, messages, trigger, messageId }) => {
          sent.current = messages;
          save({ id, model: chosen.current, messages, shown: messages });
          return { body: { id, messages, trigger, messageId, model: chosen.current } };
        },
        // The answer is sent again from its start, and put after `sent`. After an approval that ends in a message that goes on.
        resumeStreamIsReplay: false,
        fetch: async (input, init) => {
          let found = false;
          try {
            const response = await ask(input, init);
            found = response.status === 200; // 204: the answer is not there any more
            return response;
          } finally {
            if (init?.method === "GET" && !init.signal?.aborted) resumed(found);
          }
        },
      }),
  );
  const chat = useChat({
    id: saved.id,
    messages: saved.messages,
    transport,
    resume: resuming, // GET /api/chat/{id}/stream
    throttle: 50,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const { messages, setMessages, status } = chat;
  const busy = resuming || status === "submitted" || status === "streaming";

  function resumed(found: boolean) {
    setResuming(false);
    if (!found && saved.shown) setMessages(saved.shown);
  }

  useEffect(() => {
    const keep = () => {
      const during = { messages: sent.current, shown: resuming ? saved.shown : messages };
      save({ id: saved.id, model, ...(busy ? during : { messages }) });
    };
    if (!busy) keep();
    addEventListener("pagehide", keep);
    return () => removeEventListener("pagehide", keep);
  }, [saved, model, messages, busy, resuming]);

  /** Ends the answer here and at the router, which would go on for a while in case that this page comes back. */
  async function stop() {
    await chat.stop();
    setResuming(false);
    await fetch(`${router}/api/chat/${saved.id}/stop`, { method: "POST", headers }).catch(() => {});
  }

  return { ...chat, busy, stop: () => void stop() };
}

/** Keeps the end of the conversation in view, unless its reader has scrolled up. */
function useStickyEnd(messages: unknown) {
  const scroller = useRef<HTMLElement>(null);
  const atEnd = useRef(true);

  function follow() {
    if (atEnd.current) scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  }

  useEffect(follow, [messages]);
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const note = () => {
      atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 60;
    };
    const resized = new ResizeObserver(follow); // a phone's keyboard opens, a window becomes narrower
    resized.observe(element);
    element.addEventListener("scroll", note, { passive: true });
    return () => {
      resized.disconnect();
      element.removeEventListener("scroll", note);
    };
  }, []);
  return scroller;
}
