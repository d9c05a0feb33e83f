/** What stands where a conversation would be, when there is none. */

import { byId, el } from "./dom.js";
import { icon } from "./icons.js";

const TEXTS = {
  waiting: [],
  nothing: ["Nothing has been said yet", "A session appears here by itself, as soon as a flow stores its first message."],
  choose: ["Choose a session", "Its conversation opens here, and grows while it goes on."],
  refused: ["You may not look in here"],
  gone: ["This session is gone", "It was deleted, has another name now, or its time was over."],
};

export function showBlank(which, detail) {
  const place = byId("blank");
  const [title, text = detail] = TEXTS[which];
  place.hidden = false;
  place.replaceChildren(...(title ? [icon("chat"), el("h2", {}, title), el("p", {}, text)] : []));
}

export function hideBlank() {
  byId("blank").hidden = true;
}
