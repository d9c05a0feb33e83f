/** Text that others wrote, made fit to be shown in one line. */

const CONTROLS = /[\u0000-\u001f\u007f]/g;
// What turns the direction of text or takes no room: in a name it can only mislead. Emoji need the joiners.
const UNSEEN = /[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

const PICTURES = { "\n": "\u21b5", "\t": "\u21e5" };

/** A name with everything in it to be seen. */
export function visible(name) {
  return name
    .replace(CONTROLS, (found) => PICTURES[found] ?? codePoint(found))
    .replace(UNSEEN, codePoint);
}

/** How a session is called. A flow's own id names the session of those who name none. */
export function sessionName(session, flow) {
  return session === flow ? "Default session" : visible(session);
}

/** The beginning of a text, in one line. */
export function excerpt(text, most = 160) {
  const line = text.slice(0, 2 * most).replace(/\s+/g, " ").replace(UNSEEN, "").trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

/** A file name for a session, which any system takes. */
export function fileName(session) {
  const safe = session.normalize("NFKC").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+|[.-]+$/g, "");
  return `${[...safe].slice(0, 80).join("") || "session"}.jsonl`;
}

/** "1 message", "2 messages". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString()} ${number === 1 ? one : many}`;
}

function codePoint(character) {
  return `\u2039U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u203a`;
}
