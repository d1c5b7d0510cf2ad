/** One message of the chat, with all kinds of parts that the router sends. */
import { isToolUIPart, type UIMessage } from "ai";
import { Markdown } from "./Markdown";
import { Tool } from "./Tool";

interface Props {
  message: UIMessage;
  busy: boolean;
  decide: (id: string, approved: boolean) => void;
}

export function Message({ message, busy, decide }: Props) {
  const reason = (message.metadata as { finishReason?: string } | undefined)?.finishReason;
  return (
    <article className={message.role}>
      <h2 className="unseen">{message.role === "user" ? "You" : "Assistant"}</h2>
      {message.parts.map((part, index) => (
        <Part key={index} part={part} message={message} busy={busy} decide={decide} />
      ))}
      {reason === "length" && <p className="note">The answer reached its limit and is not complete.</p>}
      {reason === "content-filter" && <p className="note">The provider’s content filter ended this answer.</p>}
    </article>
  );
}

function Part({ part, message, busy, decide }: Props & { part: UIMessage["parts"][number] }) {
  if (isToolUIPart(part)) return <Tool part={part} busy={busy} decide={decide} />;
  switch (part.type) {
    case "text":
      return message.role === "user" ? <p className="bubble">{part.text}</p> : <Markdown text={part.text} />;
    case "reasoning":
      return (
        <details className="fold thoughts">
          <summary>{part.state === "streaming" && busy ? "Thinking…" : "Thoughts"}</summary>
          <Markdown text={part.text} />
        </details>
      );
    case "file":
      // Only what came in the message itself: an address of another host is a link.
      return part.mediaType.startsWith("image/") && part.url.startsWith("data:") ? (
        <img src={part.url} alt={part.filename ?? "Image"} />
      ) : (
        <Markdown text={`[${part.filename ?? "file"}](${part.url})`} />
      );
    case "source-url":
      return <Markdown text={`Source: [${part.title ?? part.url}](${part.url})`} />;
    default:
      return null; // step-start, and parts that are younger than this page
  }
}
