// A page that draws the parts as the components of vercel/ai-chatbot do: message.tsx, weather.tsx, data-stream-handler.tsx and the artifacts.
import * as ai from "ai";
import { chatOf } from "./chat.mjs";

const $ = (id) => document.getElementById(id);
const made = (tag, more = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), more);
  element.append(...children);
  return element;
};
const fresh = { documentId: "", kind: "text", title: "", content: "", status: "idle", suggestions: [] };
let artifact = fresh;
window.marks = []; // the statuses and the sizes of the artifact, for tests

const id = new URL(location).searchParams.get("id") ?? crypto.randomUUID();
history.replaceState(null, "", `?id=${id}`);
const saved = await (await fetch(`/api/messages?chatId=${id}`)).json();
const chat = chatOf(ai, { id, messages: saved, onChange: draw, onData: heard, onError: ({ message }) => toast(message) });
window.chat = chat;

function heard({ type, data }) {
  const streaming = { ...artifact, status: "streaming" };
  switch (type) {
    case "data-kind":
      artifact = { ...streaming, kind: data };
      break;
    case "data-id":
      artifact = { ...streaming, documentId: data };
      break;
    case "data-title":
      artifact = { ...streaming, title: data };
      break;
    case "data-clear":
      artifact = { ...streaming, content: "", suggestions: [] };
      break;
    case "data-textDelta":
      artifact = { ...streaming, content: artifact.content + data };
      break;
    case "data-codeDelta":
    case "data-sheetDelta":
      artifact = { ...streaming, content: data };
      break;
    case "data-suggestion":
      artifact = { ...artifact, suggestions: [...artifact.suggestions, data] };
      break;
    case "data-finish":
      artifact = { ...artifact, status: "idle" };
      void stored(artifact.documentId);
      break;
    case "data-chat-title":
      document.title = data;
      return;
    default:
      return;
  }
  window.marks.push([type, artifact.content.length]);
  drawArtifact();
}

/** The document as the server has it: the page asks for it as soon as it is finished. */
async function stored(documentId) {
  const found = await (await fetch(`/api/document?id=${documentId}`)).json();
  const last = found.at(-1);
  $("state").textContent = last ? `saved, version ${found.length}` : "not saved";
  if (last) artifact = { ...artifact, title: last.title, kind: last.kind, content: last.content, documentId };
  drawArtifact();
}

function drawArtifact() {
  document.querySelector("aside").hidden = false;
  $("title").textContent = artifact.title;
  if (artifact.status === "streaming") $("state").textContent = "writing …";
  $("content").className = artifact.kind;
  if (artifact.kind === "sheet" && artifact.content) {
    const rows = artifact.content.trim().split("\n").map((line) => line.split(","));
    const cells = (row, tag) => made("tr", {}, ...row.map((text) => made(tag, { textContent: text })));
    $("content").replaceChildren(made("table", {}, ...rows.map((row, index) => cells(row, index ? "td" : "th"))));
  } else $("content").textContent = artifact.content;
  const listed = artifact.suggestions.map(({ originalText, suggestedText, description }) =>
    made("li", {}, made("del", { textContent: originalText }), " → ", made("ins", { textContent: suggestedText }), ` ${description}`));
  $("suggestions").replaceChildren(...listed);
}

function toast(message) {
  $("toast").hidden = false;
  $("toast").textContent = message;
}

function card(name, output) {
  if (output === undefined) return made("div", { className: `card ${name}`, textContent: "In the making …" });
  if ("error" in output) return made("div", { className: "card error", textContent: output.error });
  const open = () => void stored(output.id);
  return made("button", { className: `card ${name}`, onclick: open }, made("b", { textContent: output.title }), `${output.kind}, ${name}`);
}

function weather({ output, state, approval }) {
  if (state === "approval-requested") {
    const button = (name, approved) => made("button", { textContent: name, onclick: () => void chat.addToolApprovalResponse({ id: approval.id, approved }) });
    return made("div", { className: "card approval" }, made("b", { textContent: "Look up the weather?" }), button("Allow", true), " ", button("Deny", false));
  }
  if (state === "output-error") return made("div", { className: "card error", textContent: "The weather could not be found." });
  if (output === undefined) return made("div", { className: "card", textContent: "Looking up the weather …" });
  const { current, current_units: units, hourly, cityName, latitude, longitude } = output;
  const from = hourly.time.findIndex((time) => new Date(time) >= new Date(current.time));
  const hours = hourly.time.slice(from, from + 6).map((time, at) => made("span", { textContent: `${time.slice(11, 13)}h ${Math.round(hourly.temperature_2m[from + at])}°` }));
  return made("div", { className: "card weather" },
    made("b", { textContent: cityName ?? `${latitude}, ${longitude}` }),
    made("div", { className: "now", textContent: `${Math.round(current.temperature_2m)}${units.temperature_2m}` }),
    made("div", { className: "hours" }, ...hours));
}

function drawn(part) {
  switch (part.type) {
    case "text":
      return made("div", { className: "text", textContent: part.text });
    case "tool-getWeather":
      return weather(part);
    case "tool-createDocument":
      return card("created", part.output);
    case "tool-updateDocument":
      return card("updated", part.output);
    case "tool-requestSuggestions":
      return card("suggested", part.output);
    default:
      return "";
  }
}

function draw() {
  if (window.chat === undefined) return;
  const shown = chat.messages.map(({ role, parts }) => made("div", { className: role }, ...parts.map(drawn)));
  $("messages").replaceChildren(...shown);
  $("messages").scrollTop = $("messages").scrollHeight;
  const busy = chat.status === "submitted" || chat.status === "streaming";
  document.body.dataset.status = chat.status;
  $("send").disabled = busy;
  $("stop").disabled = !busy;
}

document.forms[0].addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.querySelector("input");
  $("toast").hidden = true;
  void chat.sendMessage({ text: field.value });
  field.value = "";
});
$("stop").addEventListener("click", () => void fetch(`/api/chat/${id}/stop`, { method: "POST" }));
draw();
if (saved.at(-1)?.role === "user") void chat.resumeStream();
window.ready = true;
