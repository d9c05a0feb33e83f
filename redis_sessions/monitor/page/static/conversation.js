/**
 * The messages of one session, oldest at the top; older ones are read as one scrolls up.
 *
 * Whatever comes or goes, what one is reading stays where it is; only who is at the very end follows what is
 * new. Changes from the feed wait while messages are being read, and are then applied to them.
 */

import { Deeds, neighbour } from "./deeds.js";
import { byId } from "./dom.js";
import { icon } from "./icons.js";
import { messageElement } from "./message.js";
import { patiently } from "./patience.js";
import { FULL, Sheet } from "./sheet.js";
import { count, excerpt } from "./text.js";

const PAGE = 100;
const NEAR = 60; // pixels from the end that count as being there
const AHEAD = 3; // screens above that are read in advance
const MOST_AGAIN = 50;

export class Conversation {
  #api;
  #notice;
  #on;
  #scroll = byId("feed-scroll");
  #feed = byId("feed");
  #beginning = byId("beginning");
  #newest = byId("newest");
  #heard = byId("heard");

  #flow = "";
  #session = "";
  #sheets = [];
  #where = new Map(); // message id -> sheet
  #before = null; // cursor of the messages that are not read yet
  #reading = null;
  #waiting = [];
  #follows = true;
  #unseen = 0;
  #sight;
  #place = null; // what is at the top of the window, and where

  /** `on.gone()` when the session has no messages any more. */
  constructor(api, notice, on) {
    this.#api = api;
    this.#notice = notice;
    this.#on = on;
    this.#scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#feed.addEventListener("focusin", (event) => {
      const article = event.target.closest(".message");
      if (article) this.#makeTabbable(article);
    });
    new Deeds(api, this.#feed, {
      find: (id) => this.#messageOf(id),
      replace: (message) => this.#replace(message),
      remove: (id) => this.#remove(id),
      hold: () => {
        this.#follows = false;
      },
      release: () => this.#scrolled(),
    });
    this.#newest.addEventListener("click", () => this.#toEnd());
    this.#sight = new IntersectionObserver((entries) => this.#seen(entries), { root: this.#scroll, rootMargin: "150% 0px" });
    new ResizeObserver(() => this.#resized()).observe(this.#scroll);
  }

  get session() {
    return this.#session;
  }

  /** Another session. Resolves when its newest messages are there: with how many, 0 when it does not exist. */
  async open(flow, session) {
    this.close();
    this.#flow = flow;
    this.#session = session;
    this.#scroll.hidden = false;
    this.#beginning.textContent = "";
    await this.#read();
    return this.#where.size;
  }

  close() {
    this.#reading?.abort();
    this.#reading = null;
    this.#waiting = [];
    this.#session = "";
    this.#setSheets([], null);
    this.#follows = true;
    this.#unseen = 0;
    this.#showNewest();
    this.#scroll.hidden = true;
  }

  /** The session has another name now; its messages are the same. */
  renamed(session) {
    this.#session = session;
  }

  /** All afresh, as far up as one is reading. */
  async reload() {
    if (!this.#session) return;
    await this.#read(this.#follows ? null : this.#topMessage());
    if (!this.#where.size) this.#on.gone();
  }

  /** A change to this session, as the feed tells it. */
  change(type, data) {
    if (this.#reading) this.#waiting.push([type, data]);
    else this.#apply(type, data);
  }

  // --- reading ------------------------------------------------------------------------------------

  /** The newest messages, back to the message `until` if one is given, in place of all that is there. */
  async #read(until = null) {
    await this.#exclusively(async (signal) => {
      let found = [];
      let before = null;
      for (let pages = 0; pages < MOST_AGAIN; pages++) {
        const page = await this.#page(before, signal);
        found = [...page.messages, ...found];
        before = page.before;
        if (!before || !until || (found[0] && found[0].timestamp < until.timestamp)) break;
      }
      const place = this.#place;
      this.#setSheets(inSheets(found), before);
      if (this.#follows) this.#toEnd();
      else this.#return(place);
    });
    this.#readAhead();
  }

  async #readOlder() {
    await this.#exclusively(async (signal) => {
      const page = await this.#page(this.#before, signal);
      const older = inSheets(page.messages.filter((message) => !this.#where.has(message.id)));
      const [first] = this.#sheets;
      this.#keepPlace(() => {
        this.#sheets.unshift(...older);
        for (const sheet of older) this.#know(sheet);
        this.#feed.prepend(...older.map((sheet) => sheet.element));
        for (const sheet of older) this.#draw(sheet);
        if (first?.isDrawn && !first.isBusy) this.#draw(first); // its first day may have begun earlier
        this.#before = page.before;
        this.#tellBeginning();
      });
    });
    this.#readAhead();
  }

  #page(before, signal) {
    const [flow, session] = [this.#flow, this.#session];
    return patiently(this.#notice, () => this.#api.messages(flow, session, { before, limit: PAGE, signal }), signal);
  }

  /** One reading at a time: a new one ends the one before. Then what changed meanwhile is applied. */
  async #exclusively(action) {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    try {
      await action(reading.signal);
    } catch (error) {
      if (reading.signal.aborted) return;
      throw error;
    } finally {
      if (this.#reading === reading) {
        this.#reading = null;
        for (const [type, data] of this.#waiting.splice(0)) this.#apply(type, data);
      }
    }
  }

  #readAhead() {
    const isNear = this.#scroll.scrollTop < AHEAD * this.#scroll.clientHeight;
    if (isNear && this.#before && !this.#reading && this.#session) this.#readOlder();
  }

  #tellBeginning() {
    if (this.#before) this.#beginning.textContent = "Earlier messages…";
    else this.#beginning.textContent = this.#where.size ? "The beginning of the conversation" : "";
  }

  // --- changes ------------------------------------------------------------------------------------

  #apply(type, { message_id: id, message }) {
    if (type === "created" && message) this.#add(message);
    else if (type === "updated" && message) this.#replace(message);
    else if (type === "deleted") this.#remove(id);
  }

  #add(message) {
    if (this.#where.has(message.id)) {
      this.#replace(message);
      return;
    }
    const newest = this.#sheets.at(-1)?.messages.at(-1);
    if (newest && message.timestamp < newest.timestamp) {
      this.#insert(message);
      return;
    }
    let arrived = null;
    this.#keepPlace(() => {
      let sheet = this.#sheets.at(-1);
      if (!sheet || sheet.messages.length >= FULL) {
        sheet = new Sheet([]);
        sheet.isDrawn = true;
        this.#sheets.push(sheet);
        this.#feed.append(sheet.element);
        this.#sight.observe(sheet.element);
      }
      arrived = sheet.append(message, newest);
      this.#where.set(message.id, sheet);
      this.#tellBeginning();
    });
    arrived?.classList.add("arrived");
    this.#heard.textContent = `${excerpt(message.sender_name, 40)}: ${excerpt(message.text, 240)}`;
    if (!this.#follows) {
      this.#unseen += 1;
      this.#showNewest();
    }
    if (!this.#feed.querySelector('.message[tabindex="0"]')) this.#makeTabbable(arrived);
  }

  /** A message whose time is before the newest one's. */
  #insert(message) {
    const oldest = this.#sheets[0].messages[0];
    if (this.#before && message.timestamp < oldest.timestamp) return; // it comes with the older ones
    const sheet = this.#sheets.findLast(({ messages }) => messages[0].timestamp <= message.timestamp) ?? this.#sheets[0];
    const index = sheet.messages.findLastIndex((other) => other.timestamp <= message.timestamp) + 1;
    sheet.messages.splice(index, 0, message);
    this.#where.set(message.id, sheet);
    this.#redraw(sheet);
  }

  #replace(message) {
    const sheet = this.#where.get(message.id);
    if (!sheet) return;
    const index = sheet.messages.findIndex((other) => other.id === message.id);
    sheet.messages[index] = message;
    const article = this.#articleOf(message.id);
    if (!article || article.querySelector(".editor")) return; // what is being written is not taken away
    this.#keepPlace(() => {
      const focused = article.contains(document.activeElement) ? document.activeElement : null;
      const fresh = messageElement(message);
      article.replaceWith(fresh);
      if (article.tabIndex === 0) this.#makeTabbable(fresh);
      if (!focused) return;
      const button = focused.dataset.do && fresh.querySelector(`[data-do="${focused.dataset.do}"]`);
      (button || fresh).focus({ preventScroll: true });
    });
  }

  #remove(id) {
    const sheet = this.#where.get(id);
    if (!sheet) return;
    this.#where.delete(id);
    sheet.messages = sheet.messages.filter((message) => message.id !== id);
    const article = this.#articleOf(id);
    const hadFocus = article?.contains(document.activeElement);
    const next = article && (neighbour(article, 1) ?? neighbour(article, -1));
    this.#redraw(sheet);
    if (hadFocus) (next && this.#articleOf(next.dataset.id))?.focus({ preventScroll: true });
    if (!sheet.messages.length) this.#discard(sheet);
    if (!this.#where.size && !this.#before) this.#on.gone();
  }

  #discard(sheet) {
    this.#sheets.splice(this.#sheets.indexOf(sheet), 1);
    this.#sight.unobserve(sheet.element);
    sheet.element.remove();
  }

  // --- drawing ------------------------------------------------------------------------------------

  #setSheets(sheets, before) {
    this.#sight.disconnect();
    this.#sheets = sheets;
    this.#where.clear();
    for (const sheet of sheets) this.#know(sheet);
    this.#before = before;
    this.#feed.replaceChildren(...sheets.map((sheet) => sheet.element));
    for (const sheet of sheets) this.#draw(sheet);
    this.#makeTabbable(this.#articles().at(-1));
    this.#tellBeginning();
  }

  #know(sheet) {
    for (const message of sheet.messages) this.#where.set(message.id, sheet);
    this.#sight.observe(sheet.element);
  }

  #draw(sheet) {
    const index = this.#sheets.indexOf(sheet);
    sheet.draw(this.#sheets[index - 1]?.messages.at(-1));
  }

  #redraw(sheet) {
    if (sheet.isDrawn) this.#keepPlace(() => this.#draw(sheet));
  }

  /** Sheets come into sight, or near it, and go. */
  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const { sheet } = target;
      if (isIntersecting && !sheet.isDrawn) this.#keepPlace(() => this.#draw(sheet));
      else if (!isIntersecting && sheet.isDrawn && !sheet.isBusy && sheet !== this.#sheets.at(-1)) sheet.clear();
    }
  }

  // --- the place ----------------------------------------------------------------------------------

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#follows) this.#unseen = 0;
    this.#showNewest();
    this.#place = this.#topPlace();
    this.#readAhead();
  }

  #resized() {
    if (this.#scroll.hidden) return;
    if (this.#follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    else this.#return(this.#place);
  }

  #keepPlace(action) {
    const place = this.#topPlace();
    action();
    if (this.#follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    else this.#return(place);
  }

  /** The first message in the window, and how far it is from the top. */
  #topPlace() {
    const top = this.#scroll.getBoundingClientRect().top;
    const sheet = this.#sheets.find(({ element }) => element.getBoundingClientRect().bottom > top);
    const article = [...(sheet?.element.querySelectorAll(".message") ?? [])].find((one) => one.getBoundingClientRect().bottom > top);
    return article ? { id: article.dataset.id, offset: article.getBoundingClientRect().top - top } : null;
  }

  #topMessage() {
    return this.#messageOf(this.#topPlace()?.id) ?? null;
  }

  #return(place) {
    const article = place && this.#articleOf(place.id);
    if (!article) return;
    const top = this.#scroll.getBoundingClientRect().top;
    this.#scroll.scrollTop += article.getBoundingClientRect().top - top - place.offset;
  }

  #toEnd() {
    this.#follows = true;
    this.#unseen = 0;
    for (const sheet of this.#sheets.slice(-2)) if (!sheet.isDrawn) this.#draw(sheet);
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#showNewest();
  }

  #showNewest() {
    const far = this.#scroll.scrollHeight - this.#scroll.scrollTop > 4 * this.#scroll.clientHeight;
    this.#newest.hidden = this.#follows || !(this.#unseen || far);
    if (this.#newest.hidden) return;
    const label = this.#unseen ? count(this.#unseen, "new message") : "To the newest";
    if (this.#newest.textContent !== label) this.#newest.replaceChildren(icon("down"), label);
  }

  #articles() {
    return [...this.#feed.querySelectorAll(".message")];
  }

  #articleOf(id) {
    return this.#feed.querySelector(`.message[data-id="${CSS.escape(id)}"]`);
  }

  #messageOf(id) {
    return this.#where.get(id)?.messages.find((message) => message.id === id);
  }

  /** Tab leads to one message, and from it to its buttons: not through all of them. */
  #makeTabbable(article) {
    for (const one of this.#feed.querySelectorAll('[tabindex="0"]:not(pre)')) {
      if (!article?.contains(one)) one.tabIndex = -1;
    }
    if (!article) return;
    for (const one of [article, ...article.querySelectorAll("button[data-do]")]) one.tabIndex = 0;
  }
}

function inSheets(messages) {
  const sheets = [];
  for (let first = 0; first < messages.length; first += FULL) sheets.push(new Sheet(messages.slice(first, first + FULL)));
  return sheets;
}
