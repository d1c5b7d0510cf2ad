"use client";

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, getToolName, isToolUIPart, type UIMessage } from "ai";
import { type FormEvent, useState } from "react";

const MODELS = ["chat-model", "chat-model-reasoning"];

export default function Page() {
  const [model, setModel] = useState("chat-model");
  const [text, setText] = useState("");
  const { messages, sendMessage, status, stop, error, regenerate } = useChat({
    transport: new DefaultChatTransport({ api: "/api/chat" }),
  });
  const busy = status === "submitted" || status === "streaming";

  function submit(event: FormEvent) {
    event.preventDefault();
    if (busy || !text.trim()) return;
    void sendMessage({ text }, { body: { model } });
    setText("");
  }

  return (
    <main>
      {messages.map((message) => (
        <article key={message.id} style={{ margin: "1rem 0" }}>
          <strong>{message.role === "user" ? "You" : "Assistant"}</strong>
          {message.parts.map((part, index) => (
            <Part key={index} part={part} />
          ))}
        </article>
      ))}

      {status === "submitted" && <p>…</p>}
      {error && (
        <p role="alert" style={{ color: "#b00020" }}>
          {error.message}{" "}
          <button type="button" onClick={() => void regenerate({ body: { model } })}>
            Try again
          </button>
        </p>
      )}

      <form onSubmit={submit} style={{ display: "flex", gap: "0.5rem" }}>
        <select aria-label="Model" value={model} onChange={(event) => setModel(event.target.value)}>
          {MODELS.map((id) => (
            <option key={id}>{id}</option>
          ))}
        </select>
        <input
          aria-label="Message"
          autoFocus
          value={text}
          onChange={(event) => setText(event.target.value)}
          placeholder="What's the weather in Beijing?"
          style={{ flex: 1 }}
        />
        {busy ? (
          <button type="button" onClick={() => void stop()}>
            Stop
          </button>
        ) : (
          <button type="submit">Send</button>
        )}
      </form>
    </main>
  );
}

function Part({ part }: { part: UIMessage["parts"][number] }) {
  if (part.type === "text") return <p style={{ whiteSpace: "pre-wrap" }}>{part.text}</p>;
  if (part.type === "reasoning") {
    return (
      <details>
        <summary>Reasoning</summary>
        <p style={{ whiteSpace: "pre-wrap", color: "#666" }}>{part.text}</p>
      </details>
    );
  }
  if (isToolUIPart(part)) {
    return (
      <section style={{ border: "1px solid #ccc", borderRadius: "0.5rem", padding: "0.5rem 1rem", margin: "0.5rem 0" }}>
        🔧 <code>{getToolName(part)}</code>
        <Code value={part.input} />
        {part.state === "output-available" && <Code value={part.output} />}
        {part.state === "output-error" && <p style={{ color: "#b00020" }}>{part.errorText}</p>}
      </section>
    );
  }
  return null;
}

function Code({ value }: { value: unknown }) {
  return <pre style={{ whiteSpace: "pre-wrap" }}>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>;
}
