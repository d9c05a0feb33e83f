/** Which flow is looked at. New ones are found by asking now and then: no feed tells of them. */

import { byId, el } from "./dom.js";
import { patiently, pause } from "./patience.js";

const EVERY_MS = 20_000;
const SOON_MS = 2_000; // while there is none

export class Flows {
  #api;
  #notice;
  #on;
  #choice = byId("flow-choice");
  #field = byId("flow");
  #flows = [];

  /** `on.choose(flow)` when one is chosen by hand, `on.appear()` when there are flows that were not there. */
  constructor(api, notice, on) {
    this.#api = api;
    this.#notice = notice;
    this.#on = on;
    this.#field.addEventListener("change", () => on.choose(this.#field.value));
  }

  get first() {
    return this.#flows[0] ?? "";
  }

  has(flow) {
    return this.#flows.includes(flow);
  }

  show(flow) {
    this.#field.value = flow;
  }

  async read() {
    const found = (await patiently(this.#notice, () => this.#api.flows())).map((one) => one.flow_id);
    const isNew = found.some((flow) => !this.has(flow));
    const chosen = this.#field.value;
    // Not under the hand of who is choosing: only what is new, or gone, changes the order.
    if (isNew || found.length !== this.#flows.length) {
      this.#flows = found;
      this.#field.replaceChildren(...found.map((flow) => el("option", { value: flow }, flow)));
      if (this.has(chosen)) this.#field.value = chosen;
      this.#choice.hidden = !found.length;
    }
    return isNew;
  }

  async keepReading() {
    for (;;) {
      await pause(this.#flows.length ? EVERY_MS : SOON_MS);
      if (document.hidden) continue;
      if (await this.read()) this.#on.appear();
    }
  }
}
