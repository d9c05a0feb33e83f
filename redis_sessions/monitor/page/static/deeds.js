/** What one does with a message of the conversation: copy, edit, delete, and go on to the next. */

import { copyText } from "./clipboard.js";
import { editText } from "./editor.js";
import { toast } from "./notice.js";
import { ask } from "./question.js";
import { excerpt } from "./text.js";

const STEPS = { PageDown: 1, PageUp: -1 };
const KEYS = { c: "copy", e: "edit", Delete: "remove" };

export class Deeds {
  #api;
  #feed;
  #conversation;

  /**
   * `conversation` has `find(id)`, `replace(message)`, `remove(id)`, and `hold()` and `release()` around what
   * must not be scrolled away.
   */
  constructor(api, feed, conversation) {
    this.#api = api;
    this.#feed = feed;
    this.#conversation = conversation;
    feed.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button) this.#do(button.dataset.do, button.closest(".message"));
    });
    feed.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const article = event.target.closest(".message");
    if (!article || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in STEPS) {
      const next = neighbour(article, STEPS[event.key]);
      if (!next) return;
      event.preventDefault();
      next.focus();
    } else if (event.key in KEYS && event.target === article) {
      event.preventDefault();
      this.#do(KEYS[event.key], article);
    }
  }

  #do(what, article) {
    const message = this.#conversation.find(article.dataset.id);
    if (!message) return;
    if (what === "copy") copyText(message.text).then(() => toast("Copied"));
    else if (what === "edit") this.#edit(article, message);
    else this.#remove(message);
  }

  #edit(article, message) {
    if (article.querySelector(".editor")) return;
    const { find, replace, hold, release } = this.#conversation;
    let saved = null;
    hold();
    editText(article, message.text, {
      save: async (text) => {
        const { text: stored, edit } = await this.#api.edit(message.id, text);
        saved = { ...(find(message.id) ?? message), text: stored, edit };
      },
      done: () => {
        const present = saved ?? find(message.id);
        if (present) replace(present);
        const shown = this.#feed.querySelector(`[data-id="${CSS.escape(message.id)}"] [data-do="edit"]`);
        shown?.focus({ preventScroll: true });
        release();
      },
    });
    article.querySelector(".editor").scrollIntoView({ block: "nearest" });
  }

  async #remove(message) {
    const done = await ask({
      title: "Delete this message?",
      text: `“${excerpt(message.text, 120)}”\n\nIt will be gone for good.`,
      yes: "Delete",
      careful: true,
      action: () => this.#api.deleteMessage(message.id),
    });
    if (!done) return;
    this.#conversation.remove(message.id);
    toast("Message deleted");
  }
}

/** The message that many further on, of those that are drawn. */
export function neighbour(article, step) {
  const articles = [...article.closest(".feed").querySelectorAll(".message")];
  return articles[articles.indexOf(article) + step] ?? null;
}
