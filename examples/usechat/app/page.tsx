"use client";

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, getToolName, isToolUIPart } from "ai";
import { type FormEvent, useState } from "react";

const transport = new DefaultChatTransport({
  api: `${process.env.NEXT_PUBLIC_BACKEND_URL ?? "http://localhost:8000"}/api/chat`,
  body: { model: "chat-model" },
});

export default function Page() {
  const { messages, sendMessage, status, stop, error, regenerate } = useChat({ transport });
  const [text, setText] = useState("");
  const busy = status === "submitted" || status === "streaming";

  function submit(event: FormEvent) {
    event.preventDefault();
    if (busy || !text.trim()) return;
    void sendMessage({ text });
    setText("");
  }

  return (
    <main>
      {messages.map(({ id, role, parts }) => (
        <article key={id}>
          <strong>{role === "user" ? "You" : "Assistant"}</strong>
          {parts.map((part, index) => {
            if (part.type === "text") return <p key={index}>{part.text}</p>;
            if (part.type === "reasoning") return <em key={index}>{part.text}</em>;
            if (!isToolUIPart(part)) return null;
            const said = part.state === "output-error" ? part.errorText : JSON.stringify(part.output ?? "…");
            return (
              <pre key={index}>
                {getToolName(part)}({JSON.stringify(part.input)}) → {said}
              </pre>
            );
          })}
        </article>
      ))}
      {error && (
        <p role="alert">
          {sentence(error)} <button onClick={() => void regenerate()}>Try again</button>
        </p>
      )}
      <form onSubmit={submit}>
        <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
        {busy ? (
          <button type="button" onClick={() => void stop()}>
            Stop
          </button>
        ) : (
          <button>Send</button>
        )}
      </form>
    </main>
  );
}

/** A refusal's body is the error's message: `message` in it is made for users. In mid-answer the message is the sentence itself. */
function sentence({ message }: Error): string {
  try {
    return (JSON.parse(message) as { message: string }).message;
  } catch {
    return message;
  }
}
