/** What the page says of itself: what is away, what has been done. */

import { byId } from "./dom.js";

const SHOWN_MS = 3_500;

/** The strip at the top, there as long as somebody waits. */
export class Notice {
  #element = byId("notice");
  #waiting = new Map();

  away(who, error) {
    this.#waiting.set(who, wording(error));
    this.#show();
  }

  back(who) {
    if (!this.#waiting.delete(who)) return;
    this.#show();
    if (!this.#waiting.size) toast("Connected again");
  }

  #show() {
    const [text = ""] = this.#waiting.values();
    if (this.#element.textContent !== text) this.#element.textContent = text;
    this.#element.hidden = !text;
  }
}

function wording(error) {
  if (error.status === 0) return "The server does not answer. Trying again…";
  if (error.status === 429) return "The server asks for a little patience. Trying again…";
  if (error.status === 500) return "The server has a problem. Trying again…";
  if (error.message.startsWith("Too many live")) return "Too many live pages are open: this one waits its turn.";
  return "The session store is away. What you see stays; trying again…";
}

let timer = 0;

/** A word about what was done; it goes by itself. */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => element.classList.remove("shown"), SHOWN_MS);
}
