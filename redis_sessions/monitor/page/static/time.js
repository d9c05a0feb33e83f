/** Times as the server writes them, `2026-01-02 03:04:05.000000 UTC`, and as people read them. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const SHORT_DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function parse(timestamp) {
  return new Date(`${timestamp.slice(0, 10)}T${timestamp.slice(11, 23)}Z`);
}

export const clock = (date) => CLOCK.format(date);
export const full = (date) => FULL.format(date);
export const isSameDay = (one, other) => one.toDateString() === other.toDateString();

/** The heading above a day's messages. */
export function day(date, now = new Date()) {
  if (isSameDay(date, now)) return "Today";
  if (isSameDay(date, dayBefore(now))) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(date);
}

/** The shortest that says when: in a list of the newest. */
export function short(date, now = new Date()) {
  if (isSameDay(date, now)) return clock(date);
  if (isSameDay(date, dayBefore(now))) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? SHORT_DAY : SHORT_DATE).format(date);
}

function dayBefore(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() - 1);
}
