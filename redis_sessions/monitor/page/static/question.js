/** The dialog that asks before something is done. */

import { byId } from "./dom.js";

/**
 * Resolves with true once `action` has succeeded, with false when the answer is no. While it fails the dialog
 * stays, and says why.
 */
export function ask({ title, text, yes, careful = false, action }) {
  const dialog = byId("question");
  const problem = byId("question-problem");
  const button = byId("question-yes");
  byId("question-title").textContent = title;
  byId("question-text").textContent = text;
  button.textContent = yes;
  button.className = careful ? "danger" : "primary";
  button.disabled = false;
  problem.hidden = true;
  dialog.showModal();
  return new Promise((resolve) => {
    let answer = false;
    dialog.onclose = () => resolve(answer);
    dialog.onclick = (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    };
    dialog.firstElementChild.onsubmit = async (event) => {
      event.preventDefault();
      if (event.submitter !== button) {
        dialog.close();
        return;
      }
      button.disabled = true;
      problem.hidden = true;
      try {
        await action();
        answer = true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      } finally {
        button.disabled = false;
      }
    };
  });
}
