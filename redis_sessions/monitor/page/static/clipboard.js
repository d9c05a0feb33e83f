/** The clipboard. */

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyAsOfOld(text); // without TLS, browsers have no clipboard for pages
  }
}

function copyAsOfOld(text) {
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
}
