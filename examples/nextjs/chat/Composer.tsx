/** The field for questions: Enter sends, Shift+Enter begins a new line, images are chosen or pasted. */
import type { FileUIPart } from "ai";
import { type FormEvent, type KeyboardEvent, useState } from "react";
import { imagePart } from "./image";

interface Props {
  busy: boolean;
  images: boolean;
  send: (text: string, files: FileUIPart[]) => void;
  stop: () => void;
}

/** `images`: whether the chosen model reads them. */
export function Composer({ busy, images, send, stop }: Props) {
  const [text, setText] = useState("");
  const [files, setFiles] = useState<FileUIPart[]>([]);
  const [notice, setNotice] = useState("");
  const ready = !busy && (text.trim() !== "" || files.length > 0);

  function submit(event: FormEvent) {
    event.preventDefault();
    if (!ready) return;
    send(text, files);
    setText("");
    setFiles([]);
  }

  function onKeyDown(event: KeyboardEvent<HTMLTextAreaElement>) {
    // While an input method composes a word, Enter ends the word.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) submit(event);
    if (event.key === "Escape" && busy) stop();
  }

  async function attach(chosen: FileList) {
    setNotice("");
    try {
      const added = await Promise.all(Array.from(chosen, imagePart));
      setFiles((before) => [...before, ...added]);
    } catch {
      setNotice("This file is not an image that the browser can read.");
    }
  }

  return (
    <form className="composer" onSubmit={submit}>
      {notice && <p role="alert">{notice}</p>}
      {files.length > 0 && (
        <ul aria-label="Images that go with the question">
          {files.map((file, index) => (
            <li key={index}>
              <img src={file.url} alt={file.filename ?? "Image"} />
              <button type="button" aria-label={`Remove ${file.filename}`} onClick={() => setFiles(files.filter((one) => one !== file))}>
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <div className="field">
        {images && (
          <label className="attach" title="Attach images">
            <Icon path="M15 8v7a5 5 0 0 1-10 0V7a3.5 3.5 0 0 1 7 0v8a1.5 1.5 0 0 1-3 0V8" />
            <input
              type="file"
              accept="image/*"
              multiple
              aria-label="Attach images"
              onChange={(event) => {
                if (event.target.files) void attach(event.target.files);
                event.target.value = "";
              }}
            />
          </label>
        )}
        <textarea
          aria-label="Message"
          placeholder="Ask anything"
          rows={1}
          autoFocus
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKeyDown}
          onPaste={(event) => {
            if (images && event.clipboardData.files.length > 0) void attach(event.clipboardData.files);
          }}
        />
        {busy ? (
          <button type="button" className="round" aria-label="Stop" onClick={stop}>
            <Icon path="M6 6h8v8H6z" />
          </button>
        ) : (
          <button className="round" aria-label="Send" disabled={!ready}>
            <Icon path="M10 16V4M5 9l5-5 5 5" />
          </button>
        )}
      </div>
    </form>
  );
}

function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}
