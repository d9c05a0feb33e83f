/** Changing a message's text where it stands. */

import { el } from "./dom.js";

/**
 * Puts a text field in the place of a message's text. `save(text)` may throw: then the field stays, and says
 * why. `done()` when it is over, whichever way.
 */
export function editText(article, text, { save, done }) {
  const shown = article.querySelector(".message-text");
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const field = el("textarea", { "aria-label": "Text of the message", dir: "auto" });
  const saving = el("button", { type: "submit", class: "primary" }, "Save");
  const cancel = el("button", { type: "button", onclick: () => close() }, "Cancel");
  const form = el(
    "form",
    { class: "editor", onsubmit: submit, onkeydown: key },
    field,
    problem,
    el("div", { class: "editor-actions" }, saving, cancel, el("span", { class: "editor-hint" }, "Ctrl+Enter saves, Esc cancels")),
  );
  field.value = text;
  shown.replaceWith(form);
  field.style.blockSize = `${Math.min(field.scrollHeight + 4, innerHeight * 0.6)}px`;
  field.focus();
  field.setSelectionRange(text.length, text.length);

  function close() {
    form.replaceWith(shown);
    done();
  }

  async function submit(event) {
    event.preventDefault();
    if (field.value === text) {
      close();
      return;
    }
    saving.disabled = true;
    try {
      await save(field.value.toWellFormed());
      close();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      saving.disabled = false;
    }
  }

  function key(event) {
    event.stopPropagation();
    if (event.key === "Escape") {
      event.preventDefault();
      close();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  }
}
