/** The API key: asked for when the service wants one, kept for this tab only. */

import { byId } from "./dom.js";

const NAME = "redis-sessions-key";
const SENDABLE = /^[\x21-\x7e]+$/;

export class Key {
  #dialog = byId("key");
  #input = byId("key-value");
  #problem = byId("key-problem");
  #forget = byId("forget-key");
  #asking = null;

  constructor() {
    this.#forget.hidden = !this.value;
    this.#forget.addEventListener("click", () => {
      sessionStorage.removeItem(NAME);
      location.reload();
    });
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it
  }

  get value() {
    return sessionStorage.getItem(NAME);
  }

  /** Resolves when there is another key than the one that was refused. All who wait are asked once. */
  ask(refused, reason) {
    if (this.value !== refused) return Promise.resolve();
    this.#asking ??= this.#show(refused ? reason : "").finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  #show(problem) {
    this.#tell(problem);
    this.#input.value = "";
    this.#dialog.showModal();
    this.#input.focus();
    return new Promise((resolve) => {
      this.#dialog.firstElementChild.onsubmit = (event) => {
        event.preventDefault();
        const key = this.#input.value.trim();
        if (!SENDABLE.test(key)) {
          this.#tell("A key is letters, digits and signs, without spaces.");
          return;
        }
        sessionStorage.setItem(NAME, key);
        this.#forget.hidden = false;
        this.#input.value = "";
        this.#dialog.close();
        resolve();
      };
    });
  }

  #tell(problem) {
    this.#problem.textContent = problem;
    this.#problem.hidden = !problem;
  }
}
