/**
 * Some successive messages of a conversation. Far from what is in sight a sheet is empty, and as high as it
 * was: so a long conversation is never all in the document.
 */

import { el } from "./dom.js";
import { dayElement, messageElement } from "./message.js";

export const FULL = 50;

export class Sheet {
  element = el("div", { class: "sheet" });
  messages;
  isDrawn = false;

  constructor(messages) {
    this.messages = messages;
    this.element.sheet = this;
  }

  /** `before` is the message that precedes this sheet's first. */
  draw(before) {
    const parts = [];
    for (const message of this.messages) {
      const heading = dayElement(message, before);
      if (heading) parts.push(heading);
      parts.push(messageElement(message));
      before = message;
    }
    this.element.replaceChildren(...parts);
    this.element.style.blockSize = "";
    this.isDrawn = true;
  }

  /** Adds a message at the end. */
  append(message, before) {
    this.messages.push(message);
    if (!this.isDrawn) return null;
    const heading = dayElement(message, before);
    const article = messageElement(message);
    this.element.append(...(heading ? [heading] : []), article);
    return article;
  }

  clear() {
    this.element.style.blockSize = `${this.element.getBoundingClientRect().height}px`;
    this.element.replaceChildren();
    this.isDrawn = false;
  }

  /** In use: it has the focus, or a text is being changed. */
  get isBusy() {
    return this.element.contains(document.activeElement) || this.element.querySelector(".editor") !== null;
  }
}
