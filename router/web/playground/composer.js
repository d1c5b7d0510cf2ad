/** The field for the next question, with files beside it. */

import { html, Icon, IconButton, signal, useEffect, useRef } from "../core/dom.js";
import { words } from "../core/words.js";
import { breakable, fault, FAULTS, live, route, routes, send, stop } from "./chat.js";
import { web } from "./sources.js";

/** @typedef {import("../core/dialects.js").FilePart} FilePart */

const MAX_BYTES = 700_000;
const EDGE = 1280;
const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif", "application/pdf"];

const text = signal("");
const files = signal(/** @type {FilePart[]} */ ([]));
const refused = signal("");

/** Whether the model of the chosen route is known to listen to audio. */
const listens = () => routes.value.some((one) => one.id === route.value && one.input_modalities?.includes("audio"));

/**
 * Take files that were chosen, pasted or dropped.
 * @param {Iterable<File>} given
 */
export async function attach(given) {
  refused.value = "";
  for (const file of given) {
    const audio = file.type.startsWith("audio/");
    if (!(audio ? listens() : KINDS.includes(file.type))) {
      refused.value = audio ? words.noAudio : words.wrongKind;
      continue;
    }
    const blob = file.size > MAX_BYTES && file.type.startsWith("image/") ? await smaller(file) : file;
    if (blob.size > MAX_BYTES) {
      refused.value = words.tooLarge;
      continue;
    }
    const part = /** @type {FilePart} */ ({ type: "file", mediaType: blob.type, url: await dataUrl(blob), filename: file.name });
    files.value = [...files.value, part];
  }
}

/**
 * An image that a request's bound lets through.
 * @param {File} file
 * @returns {Promise<Blob>}
 */
async function smaller(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return file;
  const scale = Math.min(1, EDGE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return await new Promise((resolve) => canvas.toBlob((made) => resolve(made ?? file), "image/jpeg", 0.85));
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** @param {string} question */
export function propose(question) {
  text.value = question;
  submit();
}

function submit() {
  const question = text.value.trim();
  if (live.value || !route.value || (!question && !files.value.length)) return;
  const parts = [...files.value, ...(question ? [{ type: /** @type {const} */ ("text"), text: question }] : [])];
  text.value = "";
  files.value = [];
  refused.value = "";
  void send(parts);
}

export function Composer() {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const chooser = useRef(/** @type {HTMLInputElement | null} */ (null));
  const value = text.value;
  useEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 240)}px`;
  }, [value]);

  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  };
  /** @param {ClipboardEvent} event */
  const pasted = (event) => {
    const given = [...(event.clipboardData?.files ?? [])];
    if (given.length) {
      event.preventDefault();
      void attach(given);
    }
  };

  return html`<form class="composer" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); submit(); }}>
    ${refused.value && html`<p class="notice" role="alert">${refused.value}</p>`}
    ${files.value.length > 0 && html`<ul class="attached">${files.value.map((file) => html`<li key=${file.url}>
      <${Attached} file=${file} />
      <${IconButton} icon="close" class="small" label=${`${words.remove}: ${file.filename}`}
        onClick=${() => { files.value = files.value.filter((one) => one !== file); }} />
    </li>`)}</ul>`}
    ${breakable() && html`<label class="choice fault"><span>${words.breakProvider}</span>
      <select id="fault" value=${fault.value} onChange=${(/** @type {any} */ event) => { fault.value = event.currentTarget.value; }}>
        <option value="">${words.no}</option>${FAULTS.map((one) => html`<option value=${one}>${words.faults[one]}</option>`)}
      </select></label>`}
    <div class="field">
      <input type="file" hidden multiple accept=${[...KINDS, ...(listens() ? ["audio/*"] : [])].join(",")} ref=${chooser}
        onChange=${() => { void attach([...(chooser.current?.files ?? [])]); if (chooser.current) chooser.current.value = ""; }} />
      <${IconButton} icon="attach" label=${listens() ? words.attachAudio : words.attach} onClick=${() => chooser.current?.click()} />
      <textarea ref=${field} id="question" rows="1" aria-label=${words.message} placeholder=${words.placeholder} value=${value}
        onInput=${(/** @type {any} */ event) => { text.value = event.currentTarget.value; }} onKeyDown=${pressed} onPaste=${pasted}
        autofocus enterkeyhint="send"></textarea>
      ${live.value
        ? html`<button type="button" class="main-button" id="stop" title=${`${words.stop} (Esc)`} aria-label=${words.stop} onClick=${stop}><${Icon} name="stop" /></button>`
        : html`<button type="submit" class="main-button" id="send" title=${words.send} aria-label=${words.send}
            disabled=${!route.value || (!value.trim() && !files.value.length)}><${Icon} name="send" /></button>`}
    </div>
  </form>`;
}

/**
 * An image; of another file its name, and where a model made it, a way to keep it. An image at another host is not loaded: its address
 * could carry the conversation away.
 * @param {{file: FilePart}} props
 */
export function Attached({ file }) {
  const name = file.filename || words.fileOf(file.mediaType);
  if (/^data:image\//.test(file.url)) return html`<img src=${file.url} alt=${file.filename || words.image} />`;
  const address = web(file.url);
  if (address) return html`<a class="file" href=${address.href} target="_blank" rel="noopener noreferrer nofollow">${name}</a>`;
  if (file.filename) return html`<span class="file">${name}</span>`;
  return html`<button type="button" class="file" onClick=${() => keep(file)}><${Icon} name="page" />${name}</button>`;
}

/**
 * Have the browser save a file that came as a `data:` address.
 * @param {FilePart} file
 */
function keep(file) {
  const [head = "", body = ""] = file.url.split(",", 2);
  const bytes = head.endsWith(";base64") ? Uint8Array.from(atob(body), (one) => one.charCodeAt(0)) : decodeURIComponent(body);
  const address = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `file.${/^\w+\/(\w+)/.exec(file.mediaType)?.[1] ?? "bin"}`;
  link.click();
  URL.revokeObjectURL(address);
}
