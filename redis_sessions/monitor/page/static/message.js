/** One message of a conversation. */

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { excerpt } from "./text.js";
import { clock, day, full, isSameDay, parse } from "./time.js";

export function messageElement(message) {
  const when = parse(message.timestamp);
  const sender = excerpt(message.sender_name, 80) || excerpt(message.sender, 80);
  const kind = message.sender === "User" ? "user" : "machine";
  const failed = message.category === "error" || message.error ? " failed" : "";
  return el(
    "article",
    { class: `message ${kind}${failed}`, "data-id": message.id, tabindex: "-1", "aria-label": `${sender}, ${clock(when)}` },
    el(
      "header",
      { class: "message-head" },
      el("bdi", { class: "message-sender" }, sender),
      el("span", { class: "message-facts" }, el("time", { datetime: when.toISOString(), title: full(when) }, clock(when)), ...facts(message)),
      el(
        "span",
        { class: "message-actions", role: "group", "aria-label": "This message" },
        action("copy", "Copy"),
        action("edit", "Edit"),
        action("remove", "Delete", " careful"),
      ),
    ),
    textElement(message),
    filesElement(message),
    blocksElement(message),
  );
}

/** The line above a day's first message; null within a day. */
export function dayElement(message, before) {
  const when = parse(message.timestamp);
  if (before && isSameDay(parse(before.timestamp), when)) return null;
  return el("p", { class: "day" }, el("time", { datetime: when.toISOString().slice(0, 10), title: full(when) }, day(when)));
}

function action(name, label, extra = "") {
  return el("button", { type: "button", class: `quiet${extra}`, "data-do": name, tabindex: "-1", title: label }, icon(name), el("span", {}, label));
}

function facts(message) {
  const { source, usage, state } = message.properties ?? {};
  const model = kindOf(source);
  const tokens = usage?.total_tokens;
  return [
    model,
    tokens ? `${tokens.toLocaleString()} tokens` : "",
    message.category && message.category !== "message" ? excerpt(message.category, 40) : "",
    message.edit ? "edited" : "",
    state === "partial" ? "still writing…" : "",
  ]
    .filter(Boolean)
    .map((fact) => ` · ${fact}`);
}

function kindOf(source) {
  const name = source?.source;
  return name && !["ChatInput", "ChatOutput", "Chat Input", "Chat Output"].includes(name) ? excerpt(name, 60) : "";
}

function textElement(message) {
  if (!message.text) return el("p", { class: "message-text message-empty" }, "No text");
  return el("p", { class: "message-text" }, message.text);
}

function filesElement(message) {
  const files = typeof message.files === "string" ? JSON.parse(message.files) : message.files;
  if (!files?.length) return null;
  const names = files.map((file) => el("li", { title: String(file) }, icon("file"), el("bdi", {}, String(file).split("/").at(-1))));
  return el("ul", { class: "message-files", "aria-label": "Attachments" }, ...names);
}

/** What an agent did on the way, folded. It is written out when it is opened: it may be long. */
function blocksElement(message) {
  const blocks = message.content_blocks;
  if (!blocks?.length) return null;
  const titles = blocks.map((block) => block.title ?? block.type ?? "Steps").join(", ");
  const details = el("details", { class: "message-blocks" }, el("summary", {}, excerpt(titles, 80)));
  details.addEventListener("toggle", () => details.append(el("pre", { tabindex: "0" }, JSON.stringify(blocks, null, 2))), { once: true });
  return details;
}
