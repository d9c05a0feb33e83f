/** The page: what its parts tell each other. */

import { Api } from "./api.js";
import { hideBlank, showBlank } from "./blank.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { Flows } from "./flows.js";
import { Key } from "./key.js";
import { Live } from "./live.js";
import { Notice, toast } from "./notice.js";
import { ask } from "./question.js";
import { Route } from "./route.js";
import { Sessions } from "./sessions.js";
import { fileName, sessionName } from "./text.js";
import { Title } from "./title.js";

const api = new Api(new Key());
const notice = new Notice();
const flows = new Flows(api, notice, { choose: (chosen) => Route.go(chosen), appear: () => follow() });
const sessions = new Sessions(api, notice, { rename: renameFromList, remove: removeFromList });
const conversation = new Conversation(api, notice, { gone });
const title = new Title({ rename, download, remove });

let flow = "";
let live = null;
const ownRenames = new Set(); // told again by the feed

// --- where one is -------------------------------------------------------------------------------

/** Shows what the address names. */
async function follow() {
  const wanted = Route.current();
  const nextFlow = flows.has(wanted.flow) ? wanted.flow : flows.first;
  if (!nextFlow) {
    showBlank("nothing");
    return;
  }
  const session = nextFlow === wanted.flow ? wanted.session : "";
  if (wanted.flow && nextFlow !== wanted.flow) Route.correct(nextFlow, "");
  const address = location.hash;
  const opening = nextFlow === flow ? null : watch(nextFlow);
  byId("back").href = Route.href(nextFlow);
  if (opening) {
    await opening;
    if (location.hash !== address) return; // meanwhile one has gone elsewhere
  }
  await show(session);
}

/** Another flow: its feed first, then its sessions, so that nothing falls between. */
async function watch(next) {
  flow = next;
  live?.stop();
  conversation.close();
  title.hide();
  showBlank("waiting");
  flows.show(flow);
  live = new Live(api, flow, notice, { change, reset, end });
  await live.ready;
  if (flow !== next) return;
  await sessions.open(flow);
}

async function show(session) {
  if (session === conversation.session && session) return;
  document.body.dataset.view = session ? "conversation" : "sessions";
  sessions.choose(session);
  if (!session) {
    conversation.close();
    title.hide();
    showBlank(sessions.isEmpty ? "nothing" : "choose");
    document.title = "Sessions";
    return;
  }
  hideBlank();
  title.show(flow, session);
  document.title = `${sessionName(session, flow)} · Sessions`;
  if (getComputedStyle(byId("back")).display !== "none") title.focus(); // the list is out of sight
  const size = await conversation.open(flow, session);
  if (conversation.session === session && !size) gone();
}

function gone() {
  conversation.close();
  title.hide();
  sessions.choose("");
  showBlank("gone");
  document.title = "Sessions";
}

// --- what the feed tells --------------------------------------------------------------------------

function change(type, data) {
  const { session_id: session, old_session_id: old, message_id: message } = data;
  const open = conversation.session;
  if (type === "renamed" && ownRenames.delete(`${old}\n${session}`)) return;
  sessions.change(type, data);
  if (type === "renamed") {
    if (open === old) reopen(session);
    else if (open === session) conversation.reload();
  } else if (type === "deleted" && !message) {
    if (open === session) gone();
  } else if (type === "updated" && old && old !== session) {
    if (open === old) conversation.change("deleted", data);
    else if (open === session) conversation.change("created", data);
  } else if (open === session) conversation.change(type, data);
  if (type === "created" && !byId("blank").hidden && !conversation.session && !Route.current().session) showBlank("choose");
}

/** The open session goes on under another name; what it was merged with belongs to it now. */
async function reopen(session) {
  conversation.renamed(session);
  Route.correct(flow, session);
  title.show(flow, session);
  document.title = `${sessionName(session, flow)} · Sessions`;
  sessions.choose(session);
  await conversation.reload();
}

function reset() {
  ownRenames.clear();
  sessions.reload();
  conversation.reload();
}

async function end() {
  live?.stop();
  flow = "";
  await flows.read();
  follow();
}

// --- what one does --------------------------------------------------------------------------------

/** True when it is done, false when one has thought better of it. */
async function rename(name) {
  const old = conversation.session;
  if (name === old) return true;
  const done = async (merge) => {
    ownRenames.add(`${old}\n${name}`);
    try {
      await api.rename(flow, old, name, merge);
    } catch (error) {
      ownRenames.delete(`${old}\n${name}`);
      throw error;
    }
    sessions.change("renamed", { old_session_id: old, session_id: name });
    await reopen(name);
    toast(merge ? "Merged" : "Renamed");
  };
  try {
    await done(false);
    return true;
  } catch (error) {
    if (error.status !== 412) throw error;
  }
  const [mine, theirs] = [sessionName(old, flow), sessionName(name, flow)];
  return ask({
    title: "Merge the two sessions?",
    text: `There is a session “${theirs}” already. All messages of “${mine}” go there, each in its place by time. They cannot be told apart again.`,
    yes: "Merge",
    action: () => done(true),
  });
}

async function remove(session = conversation.session) {
  const index = sessions.indexOf(session);
  const done = await ask({
    title: "Delete this session?",
    text: `“${sessionName(session, flow)}” and all its messages will be gone for good.`,
    yes: "Delete",
    careful: true,
    action: () => api.deleteSession(flow, session),
  });
  if (!done) return;
  sessions.change("deleted", { session_id: session });
  if (conversation.session === session || Route.current().session === session) {
    Route.correct(flow, "");
    await show("");
  }
  sessions.focusNear(Math.max(0, index));
  toast("Session deleted");
}

async function renameFromList(session) {
  if (conversation.session !== session) {
    history.pushState(null, "", Route.href(flow, session));
    await show(session);
  }
  title.rename();
}

function removeFromList(session) {
  remove(session);
}

async function download() {
  const session = conversation.session;
  try {
    const url = URL.createObjectURL(await api.download(flow, session));
    const link = document.createElement("a");
    link.href = url;
    link.download = fileName(session);
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    toast(error.message);
  }
}

// --- keys for the whole page ------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("filter").focus();
  }
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("conversation").focus();
});
addEventListener("hashchange", follow);

try {
  await flows.read();
  await follow();
  await flows.keepReading();
} catch (error) {
  showBlank("refused", error.message);
}
