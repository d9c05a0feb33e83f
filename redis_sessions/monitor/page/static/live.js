/**
 * A flow's live feed: server-sent events, over fetch because EventSource sends no key.
 *
 * It begins behind an event that never was. The service answers `reset`, with the place from which nothing is
 * missed: whoever reads the state then, and applies what follows, has everything.
 */

import { Patience } from "./patience.js";

const NEVER = "1-1";
const SILENCE_MS = 45_000; // the service says something every 15 s
const HIDDEN_MS = 5_000; // a browser has few connections to one server, for all its tabs

export class Live {
  #api;
  #flow;
  #notice;
  #on;
  #after = NEVER;
  #stopped = new AbortController();
  #connection = null;
  #patience = new Patience();
  #isReady = false;
  #resolveReady;

  /** Resolves with the first event, or when there will be none for now: then the state may be read. */
  ready = new Promise((resolve) => {
    this.#resolveReady = resolve;
  });

  /** `on.change(type, data)` for each event, `on.reset()` when the state is to be read afresh, `on.end()`. */
  constructor(api, flow, notice, on) {
    this.#api = api;
    this.#flow = flow;
    this.#notice = notice;
    this.#on = on;
    const hide = () => this.#hide();
    document.addEventListener("visibilitychange", hide, { signal: this.#stopped.signal });
    this.#run().catch((error) => {
      if (!this.#stopped.signal.aborted) throw error;
    });
  }

  stop() {
    this.#stopped.abort();
    this.#connection?.abort();
    this.#notice.back(this);
  }

  async #run() {
    while (!this.#stopped.signal.aborted) {
      await this.#whileVisible();
      this.#connection = new AbortController();
      try {
        if ((await this.#listen(this.#connection.signal)) === "end") return;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (error.status === 404) {
          this.#end();
          return;
        }
        if (error.isAway) this.#notice.away(this, error);
      }
      this.#makeReady();
      await this.#patience.wait(this.#stopped.signal);
    }
  }

  async #listen(signal) {
    let watchdog = 0;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.#connection.abort(), SILENCE_MS);
    };
    try {
      heard();
      const body = await this.#api.live(this.#flow, this.#after, signal);
      this.#notice.back(this);
      for await (const event of events(body, heard)) {
        this.#patience.reset();
        if (event.id) this.#after = event.id;
        if (event.type === "end") {
          this.#end();
          return "end";
        }
        if (event.type === "reset") this.#reset();
        else this.#on.change(event.type, JSON.parse(event.data));
      }
    } finally {
      clearTimeout(watchdog);
    }
    return "closed";
  }

  #reset() {
    if (this.#isReady) this.#on.reset();
    else this.#makeReady();
  }

  #makeReady() {
    this.#isReady = true;
    this.#resolveReady();
  }

  #end() {
    this.#makeReady();
    this.#notice.back(this);
    this.#on.end();
  }

  #hide() {
    if (!document.hidden) return;
    setTimeout(() => {
      if (document.hidden) this.#connection?.abort();
    }, HIDDEN_MS);
  }

  #whileVisible() {
    if (!document.hidden) return null;
    return new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
    });
  }
}

/** The events of a stream: {type, id, data}. */
async function* events(body, heard) {
  let rest = "";
  let event = {};
  for await (const text of chunks(body)) {
    heard();
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data !== undefined) yield { type: event.event ?? "message", id: event.id, data: event.data };
        event = {};
      } else if (!line.startsWith(":")) {
        const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
        event[name] = name === "data" && event.data !== undefined ? `${event.data}\n${value}` : value;
      }
    }
  }
}

async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
