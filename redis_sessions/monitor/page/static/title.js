/** The head of a conversation: what it is called, and what can be done with it as a whole. */

import { byId, el } from "./dom.js";
import { icon } from "./icons.js";
import { sessionName } from "./text.js";

export class Title {
  #head = byId("conversation-head");
  #place = byId("title-place");
  #heading = byId("title");
  #subtitle = byId("subtitle");
  #on;
  #form = null;
  #buttons;

  /** `on.rename(name)` may throw: the field then says why. `on.download()`, `on.remove()`. */
  constructor(on) {
    this.#on = on;
    this.#heading.tabIndex = -1;
    byId("back").append(icon("back"));
    this.#buttons = [
      this.#button("edit", "Rename", () => this.rename()),
      this.#button("download", "Download", () => on.download()),
      this.#button("remove", "Delete", () => on.remove(), " careful"),
    ];
    byId("actions").append(...this.#buttons);
  }

  #flow = "";
  #session = "";

  show(flow, session) {
    if (session !== this.#session || flow !== this.#flow) this.#close();
    this.#flow = flow;
    this.#session = session;
    this.#head.hidden = false;
    this.#heading.replaceChildren(el("bdi", {}, sessionName(session, flow)));
    this.#heading.title = session;
    this.#subtitle.textContent = session === flow ? session : "";
  }

  hide() {
    this.#close();
    this.#session = "";
    this.#head.hidden = true;
    this.#heading.textContent = "Conversation";
  }

  focus() {
    this.#heading.focus({ preventScroll: true });
  }

  /** The heading becomes a field. */
  rename() {
    if (this.#form) return;
    const problem = el("p", { class: "problem", role: "alert", hidden: true });
    const field = el("input", { type: "text", "aria-label": "Name of the session", required: true, autocomplete: "off", spellcheck: "false" });
    field.value = this.#session;
    const submit = async (event) => {
      event.preventDefault();
      const name = field.value.toWellFormed();
      if (name === this.#session || name === field.defaultValue) {
        this.#close(true);
        return;
      }
      try {
        if (await this.#on.rename(name)) this.#close(true);
        else field.focus();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      }
    };
    const key = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.#close(true);
    };
    this.#form = el(
      "form",
      { class: "rename", onsubmit: submit, onkeydown: key },
      field,
      el("button", { type: "submit", class: "primary" }, "Save"),
      el("button", { type: "button", onclick: () => this.#close(true) }, "Cancel"),
      problem,
    );
    this.#heading.hidden = this.#subtitle.hidden = true;
    byId("actions").hidden = true;
    this.#place.append(this.#form);
    field.focus();
    field.select();
  }

  #close(focus = false) {
    this.#form?.remove();
    this.#form = null;
    this.#heading.hidden = this.#subtitle.hidden = false;
    byId("actions").hidden = false;
    if (focus) this.#buttons[0].focus();
  }

  #button(picture, label, onclick, extra = "") {
    return el("button", { type: "button", class: `quiet${extra}`, title: label, "aria-label": label, onclick }, icon(picture), el("span", {}, label));
  }
}
