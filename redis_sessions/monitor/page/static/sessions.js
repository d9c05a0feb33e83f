/**
 * The list of a flow's sessions, newest first.
 *
 * All rows are of one height and only those in sight are elements; more are read as one scrolls. Changes from
 * the feed wait while a page is being read, and are then applied to it.
 */

import { byId } from "./dom.js";
import { patiently } from "./patience.js";
import { Rows } from "./rows.js";
import { count, visible } from "./text.js";

const PAGE = 100;
const OVERLAP = 5; // rows may have moved since the page before was read
const MOST_AGAIN = 1_000;
const SHOWN = 160; // characters of a text

export class Sessions {
  #api;
  #notice;
  #on;
  #view = new Rows(() => this.#drawSoon());
  #note = byId("rows-note");
  #filterField = byId("filter");
  #filterResult = byId("filter-result");

  #flow = "";
  #filter = "";
  #chosen = "";
  #active = ""; // the row that Tab leads to
  #rows = [];
  #known = new Set();
  #complete = false;
  #reading = null; // AbortController of the page that is being read
  #waiting = [];
  #drawing = 0;

  /** `on.rename(session)` and `on.remove(session)` when a key asks for it. */
  constructor(api, notice, on) {
    this.#api = api;
    this.#notice = notice;
    this.#on = on;
    const list = byId("rows");
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => {
      this.#active = event.target.closest("li")?.dataset.session ?? this.#active;
      this.#drawSoon();
    });
    let typing = 0;
    this.#filterField.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#applyFilter(), 150);
    });
    this.#filterField.addEventListener("keydown", (event) => this.#filterKey(event));
  }

  get isEmpty() {
    return this.#complete && !this.#rows.length && !this.#filter;
  }

  /** Another flow's sessions. Resolves when the first are there. */
  open(flow) {
    this.#flow = flow;
    this.#filter = this.#filterField.value = "";
    this.#active = "";
    this.#start();
    return this.#read(PAGE, 0);
  }

  /** All afresh, as far down as one has scrolled. */
  reload() {
    return this.#read(Math.min(Math.max(PAGE, this.#view.end), MOST_AGAIN), 0);
  }

  /** Marks the session whose conversation is shown. */
  choose(session) {
    this.#chosen = session;
    if (session) this.#active = session;
    this.#drawSoon();
  }

  /** A change, as the feed tells it. */
  change(type, data) {
    if (this.#reading) this.#waiting.push([type, data]);
    else this.#apply(type, data);
  }

  /** Moves the focus to where a session was that is gone, or to the filter. */
  focusNear(index) {
    const row = this.#rows[Math.min(index, this.#rows.length - 1)];
    if (row) this.#focus(row.session_id);
    else this.#filterField.focus();
  }

  indexOf(session) {
    return this.#rows.findIndex((row) => row.session_id === session);
  }

  // --- reading ------------------------------------------------------------------------------------

  #start() {
    this.#reading?.abort();
    this.#reading = null;
    this.#waiting = [];
    this.#rows = [];
    this.#known.clear();
    this.#complete = false;
    this.#view.clear();
    this.#tell();
    this.#draw();
  }

  /** Rows from `offset` on; from 0 they take the place of all that is there. */
  async #read(wanted, offset) {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const { signal } = reading;
    const filter = this.#filter;
    const found = [];
    let complete = false;
    try {
      while (found.length < wanted && !complete) {
        const limit = Math.min(200, wanted - found.length);
        const query = { filter, limit, offset: offset + found.length, signal };
        const page = await patiently(this.#notice, () => this.#api.sessions(this.#flow, query), signal);
        found.push(...page);
        complete = page.length < limit;
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#reading = null;
      if (error.status !== 404) throw error;
      complete = true; // the flow is gone
    }
    if (this.#reading !== reading) return;
    if (offset === 0) {
      this.#rows = [];
      this.#known.clear();
    }
    for (const row of found) {
      if (this.#known.has(row.session_id)) continue;
      this.#known.add(row.session_id);
      this.#rows.push(row);
    }
    this.#complete = complete;
    this.#reading = null;
    for (const [type, data] of this.#waiting.splice(0)) this.#apply(type, data);
    this.#tell();
    this.#draw();
  }

  #applyFilter() {
    const filter = this.#filterField.value.trim().toWellFormed();
    if (filter === this.#filter) return;
    this.#filter = filter;
    this.#active = "";
    this.#start();
    this.#read(PAGE, 0);
  }

  #tell() {
    const isEmpty = this.#complete && !this.#rows.length;
    this.#note.hidden = !isEmpty;
    if (isEmpty) {
      this.#note.textContent = this.#filter ? `No session has “${visible(this.#filter)}” in its name.` : "No sessions yet.";
    }
    if (!this.#filter) this.#filterResult.textContent = "";
    else if (!this.#reading && (this.#complete || this.#rows.length)) {
      const most = this.#complete ? "" : "More than ";
      this.#filterResult.textContent = `${most}${count(this.#rows.length, "session")} found`;
    }
  }

  // --- changes ------------------------------------------------------------------------------------

  #apply(type, { session_id: session, old_session_id: old, message_id: id, message }) {
    if (type === "look") this.#look(session);
    else if (type === "created" && message) this.#touch(session, shortened(message));
    else if (type === "updated" && old) {
      this.#look(old);
      this.#look(session);
    } else if (type === "updated" && message) {
      const row = this.#rows[this.indexOf(session)];
      if (row?.latest?.id === id) row.latest = shortened(message);
    } else if (type === "deleted" && id) {
      const row = this.#rows[this.indexOf(session)];
      if (row && (!row.latest || row.latest.id === id)) this.#look(session);
    } else if (type === "deleted") this.#drop(session);
    else if (type === "renamed") this.#rename(old, session);
    this.#tell();
    this.#drawSoon();
  }

  /** A message was added: its session is the newest now. */
  #touch(session, message) {
    const index = this.indexOf(session);
    const [row] = index < 0 ? [{ session_id: session, latest: null }] : this.#rows.splice(index, 1);
    if (!row.latest || row.latest.timestamp <= message.timestamp) row.latest = message;
    if (index < 0 && !this.#isListed(session)) return;
    this.#known.add(session);
    this.#rows.unshift(row);
    this.#view.cameToTop(index);
  }

  #rename(old, session) {
    const from = this.indexOf(old);
    const to = this.indexOf(session);
    if (this.#active === old) this.#active = session;
    if (from < 0) {
      this.#look(session);
      return;
    }
    const [row] = this.#rows.splice(from, 1);
    this.#known.delete(old);
    if (to < 0 && this.#isListed(session)) {
      this.#known.add(session);
      this.#rows.splice(from, 0, { ...row, session_id: session });
    } else if (to >= 0) {
      const [merged] = this.#rows.splice(to > from ? to - 1 : to, 1);
      this.#rows.splice(Math.min(from, to), 0, merged);
    }
    this.#view.rename(old, session);
    if (to >= 0) this.#look(session);
  }

  #drop(session) {
    const index = this.indexOf(session);
    if (index < 0) return;
    this.#rows.splice(index, 1);
    this.#known.delete(session);
    if (this.#active === session) this.#active = this.#rows[Math.min(index, this.#rows.length - 1)]?.session_id ?? "";
  }

  /** Reads a row again; it goes where its last message puts it. */
  async #look(session) {
    const flow = this.#flow;
    const row = await patiently(this.#notice, () => this.#api.session(flow, session)).catch((error) => {
      if (error.status === 404) return null; // the flow is gone
      throw error;
    });
    if (flow !== this.#flow) return;
    if (this.#reading) {
      this.#waiting.push(["look", { session_id: session }]);
      return;
    }
    const index = this.indexOf(session);
    if (index >= 0) this.#rows.splice(index, 1);
    this.#known.delete(session);
    if (row && this.#isListed(session)) {
      const time = row.latest?.timestamp ?? "";
      const after = this.#rows.findIndex((other) => (other.latest?.timestamp ?? "") < time);
      if (after >= 0 || this.#complete) {
        this.#known.add(session);
        this.#rows.splice(after >= 0 ? after : this.#rows.length, 0, row);
      }
    }
    this.#tell();
    this.#drawSoon();
  }

  #isListed(session) {
    const isHidden = /^agentic./s.test(session); // as Langflow hides them
    return !isHidden && session.toLowerCase().includes(this.#filter.toLowerCase());
  }

  // --- drawing ------------------------------------------------------------------------------------

  #drawSoon() {
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const last = this.#view.draw({
      rows: this.#rows,
      indexOf: (session) => (this.#known.has(session) ? this.indexOf(session) : -1),
      active: this.#active,
      chosen: this.#chosen,
      isComplete: this.#complete,
      flow: this.#flow,
    });
    const isNearEnd = last > this.#rows.length - PAGE / 2;
    if (isNearEnd && !this.#complete && !this.#reading && this.#rows.length) {
      this.#read(PAGE, Math.max(0, this.#rows.length - OVERLAP));
    }
  }

  // --- keys ---------------------------------------------------------------------------------------

  #focus(session) {
    this.#view.scrollTo(this.indexOf(session));
    this.#active = session;
    this.#draw();
    this.#view.focus(session);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const index = this.indexOf(this.#active);
    const page = this.#view.pageSize;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      if (event.key === "ArrowUp" && index <= 0) this.#filterField.focus();
      else this.focusNear(Math.max(0, index + steps[event.key]));
    } else if (event.key === "F2" && index >= 0) {
      event.preventDefault();
      this.#on.rename(this.#active);
    } else if (event.key === "Delete" && index >= 0) {
      event.preventDefault();
      this.#on.remove(this.#active);
    }
  }

  #filterKey(event) {
    if (event.key === "ArrowDown" && this.#rows.length) {
      event.preventDefault();
      this.#focus(this.#rows[0].session_id);
    } else if (event.key === "Escape" && this.#filterField.value) {
      event.preventDefault();
      this.#filterField.value = "";
      this.#applyFilter();
    }
  }
}

/** Of a message, what a row shows: a list of thousands does not keep them whole. */
function shortened({ id, timestamp, sender, sender_name, text }) {
  return { id, timestamp, sender, sender_name, text: text.slice(0, SHOWN) };
}
