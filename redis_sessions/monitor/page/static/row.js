/** One session in the list. */

import { el } from "./dom.js";
import { Route } from "./route.js";
import { excerpt, sessionName } from "./text.js";
import { full, parse, short } from "./time.js";

export function rowElement() {
  const name = el("span", { class: "row-name" }, el("bdi"));
  const link = el("a", {}, name, el("time", { class: "row-time" }), el("span", { class: "row-text", dir: "auto" }));
  return el("li", { class: "row settled" }, link);
}

/** Makes the element say what the row is now. */
export function fillRow(element, row, flow) {
  const [link] = element.children;
  const [name, time, text] = link.children;
  const { session_id: session, latest } = row;
  element.dataset.session = session;
  element.latest = latest;
  link.href = Route.href(flow, session);
  link.title = session;
  name.firstChild.textContent = sessionName(session, flow);
  if (latest) {
    const when = parse(latest.timestamp);
    time.dateTime = when.toISOString();
    time.textContent = short(when);
    time.title = full(when);
    text.textContent = `${excerpt(latest.sender_name, 40)}: ${excerpt(latest.text) || "no text"}`;
  } else {
    time.textContent = text.textContent = "";
  }
}
