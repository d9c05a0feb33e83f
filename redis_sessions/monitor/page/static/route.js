/** The page's address, `#/<flow>/<session>`: it can be kept, sent and gone back to. */

export const Route = {
  current() {
    const [, flow = "", session = ""] = location.hash.split("/").map(decoded);
    return { flow, session };
  },

  href(flow, session = "") {
    return `#/${encodeURIComponent(flow)}${session && `/${encodeURIComponent(session)}`}`;
  },

  go(flow, session) {
    location.hash = Route.href(flow, session);
  },

  /** The same place by another name: no step to go back over. */
  correct(flow, session) {
    history.replaceState(null, "", Route.href(flow, session));
  },
};

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
