/** The service's endpoints. */

const BASE = new URL("api/v1/monitor/", document.baseURI);
const PAGE = 100;

/** An answer that is none. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** The server or Redis is away: the same request may succeed later. */
  get isAway() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  async flows(signal) {
    return (await this.#ask("GET", "flows", { signal })).json();
  }

  /** Sessions, newest first: [{session_id, latest: {id, timestamp, sender, sender_name, text} | null}]. */
  async sessions(flow, { filter, offset, limit = PAGE, signal }) {
    const query = { flow_id: flow, limit, offset, ...(filter && { filter }) };
    return (await this.#ask("GET", "page/sessions", { query, signal })).json();
  }

  /** One of them; null when it is not there. */
  async session(flow, session, signal) {
    const answer = await this.#ask("GET", "page/sessions", { query: place(flow, session), signal });
    return (await answer.json())[0] ?? null;
  }

  /** Messages, oldest first, and the cursor of those before them; null at the beginning. */
  async messages(flow, session, { before, limit = PAGE, signal }) {
    const query = { ...place(flow, session), limit, ...(before && { before }) };
    const answer = await this.#ask("GET", "messages", { query, signal });
    return { messages: await answer.json(), before: answer.headers.get("x-next-cursor") };
  }

  /** Throws ApiError 412 when `name` is there and `merge` is not wanted. */
  async rename(flow, session, name, merge) {
    const json = { new_session_id: name, merge };
    return (await this.#ask("PATCH", "page/session", { query: place(flow, session), json })).json();
  }

  async deleteSession(flow, session) {
    await this.#ask("DELETE", "page/session", { query: place(flow, session) });
  }

  async edit(message, text) {
    return (await this.#ask("PUT", `messages/${message}`, { json: { text } })).json();
  }

  async deleteMessage(message) {
    await this.#ask("DELETE", "messages", { json: [message] });
  }

  /** All messages of a session, as a file. */
  async download(flow, session) {
    return (await this.#ask("GET", "messages/export", { query: place(flow, session) })).blob();
  }

  /** The body of the live feed, behind the event `after`. */
  async live(flow, after, signal) {
    const headers = { accept: "text/event-stream", "last-event-id": after };
    return (await this.#ask("GET", "messages/stream", { query: { flow_id: flow }, headers, signal })).body;
  }

  async #ask(method, path, { query = {}, json, headers = {}, signal } = {}) {
    const url = new URL(path, BASE);
    url.search = new URLSearchParams(query);
    for (;;) {
      const key = this.#key.value;
      const sent = { ...headers, ...(key && { "x-api-key": key }), ...(json && { "content-type": "application/json" }) };
      let answer;
      try {
        answer = await fetch(url, { method, headers: sent, body: json && JSON.stringify(json), signal });
      } catch (error) {
        signal?.throwIfAborted();
        throw new ApiError(0, "The server does not answer.");
      }
      if (answer.ok) return answer;
      const detail = await detailOf(answer);
      // Open access takes no key: who is refused there is on another machine.
      const wantsKey = [401, 403].includes(answer.status) && !detail.startsWith("Open access");
      if (!wantsKey) throw new ApiError(answer.status, detail);
      await this.#key.ask(key, detail);
    }
  }
}

/** The query that names a session. The service decodes the id twice, as Langflow's does. */
function place(flow, session) {
  return { flow_id: flow, session_id: encodeURIComponent(session) };
}

async function detailOf(answer) {
  try {
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : detail.map((problem) => problem.msg).join(" ");
  } catch {
    return `The server answered with status ${answer.status}.`;
  }
}
