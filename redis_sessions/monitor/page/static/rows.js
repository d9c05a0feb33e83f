/** The rows in sight, and some around them: however long the list, only these are elements. */

import { byId } from "./dom.js";
import { fillRow, rowElement } from "./row.js";

const MARGIN = 8; // rows above and below those in sight

export class Rows {
  #scroll = byId("rows-scroll");
  #list = byId("rows");
  #elements = new Map(); // by session
  #rowHeight = 0;

  /** `redraw()` when other rows have come into sight. */
  constructor(redraw) {
    this.#scroll.addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(() => {
      this.#rowHeight = 0;
      redraw();
    }).observe(this.#scroll);
  }

  /** The index behind the last row in sight. */
  get end() {
    return Math.ceil((this.#scroll.scrollTop + this.#scroll.clientHeight) / this.#height) + MARGIN;
  }

  /** How many rows one leafs on. */
  get pageSize() {
    return Math.max(1, Math.floor(this.#scroll.clientHeight / this.#height) - 1);
  }

  clear() {
    for (const element of this.#elements.values()) element.remove();
    this.#elements.clear();
    this.#scroll.scrollTop = 0;
  }

  rename(old, session) {
    const element = this.#elements.get(old);
    if (!element || this.#elements.has(session)) return;
    this.#elements.delete(old);
    this.#elements.set(session, element);
  }

  /** A row came to the top, from `index` or (-1) from nowhere: who reads further down keeps what they read. */
  cameToTop(index) {
    const { scrollTop } = this.#scroll;
    const wasAbove = index >= 0 && index * this.#height < scrollTop;
    if (!wasAbove && scrollTop > this.#height) this.#scroll.scrollTop += this.#height;
  }

  scrollTo(index) {
    const top = index * this.#height;
    const { scrollTop, clientHeight } = this.#scroll;
    const isBelow = top + this.#height > scrollTop + clientHeight;
    if (top < scrollTop) this.#scroll.scrollTop = top;
    else if (isBelow) this.#scroll.scrollTop = top + this.#height - clientHeight;
  }

  focus(session) {
    this.#elements.get(session)?.firstChild.focus({ preventScroll: true });
  }

  /** Draws what is in sight of `rows`; the index behind the last row that is drawn. */
  draw({ rows, indexOf, active, chosen, isComplete, flow }) {
    const first = Math.max(0, Math.floor(this.#scroll.scrollTop / this.#height) - MARGIN);
    const last = Math.min(rows.length, this.end);
    this.#list.style.blockSize = `${rows.length * this.#height}px`;
    const focused = document.activeElement.closest?.("#rows > li");
    const tabbable = indexOf(active) >= 0 ? active : rows[first]?.session_id;
    const wanted = new Map();
    for (let index = first; index < last; index++) wanted.set(rows[index].session_id, index);
    for (const session of [focused?.dataset.session, tabbable]) {
      const index = session === undefined ? -1 : indexOf(session);
      if (index >= 0) wanted.set(session, index);
    }
    for (const [session, element] of this.#elements) {
      if (wanted.has(session)) continue;
      element.remove();
      this.#elements.delete(session);
    }
    const focusedLink = focused && document.activeElement;
    let before = null;
    for (const [session, index] of [...wanted].sort(([, one], [, other]) => one - other)) {
      const element = this.#elements.get(session) ?? this.#add(session);
      if (element.latest !== rows[index].latest || element.dataset.session !== session) {
        fillRow(element, rows[index], flow);
      }
      element.style.transform = `translateY(${index * this.#height}px)`;
      element.ariaSetSize = isComplete ? rows.length : -1;
      element.ariaPosInSet = index + 1;
      element.firstChild.tabIndex = session === tabbable ? 0 : -1;
      element.firstChild.ariaCurrent = session === chosen ? "page" : null;
      // Reading order is the order of the rows.
      const next = before ? before.nextSibling : this.#list.firstChild;
      if (element !== next) this.#list.insertBefore(element, next);
      before = element;
    }
    // An element that is moved loses the focus.
    if (focusedLink?.isConnected && focusedLink !== document.activeElement) focusedLink.focus({ preventScroll: true });
    return last;
  }

  #add(session) {
    const element = rowElement();
    this.#elements.set(session, element);
    requestAnimationFrame(() => element.classList.remove("settled")); // from now on it moves calmly
    return element;
  }

  /** A row's height in pixels: it follows the reader's font size. */
  get #height() {
    if (!this.#rowHeight) {
      const probe = rowElement();
      this.#list.append(probe);
      this.#rowHeight = probe.getBoundingClientRect().height || 68;
      probe.remove();
    }
    return this.#rowHeight;
  }
}
