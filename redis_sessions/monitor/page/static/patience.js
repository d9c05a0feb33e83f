/** Trying again while the server or Redis is away. */

const FIRST_MS = 400;
const LONGEST_MS = 5_000;

/** Ever longer waits, a little at random so that not all pages come back in the same moment. */
export class Patience {
  #next = FIRST_MS;

  reset() {
    this.#next = FIRST_MS;
  }

  async wait(signal) {
    const ms = this.#next * (0.75 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, LONGEST_MS);
    await pause(ms, signal);
  }
}

/** What `action` gives, however long the service is away; other errors are the caller's. */
export async function patiently(notice, action, signal) {
  const who = {};
  const patience = new Patience();
  try {
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (!error.isAway) throw error;
        notice.away(who, error);
      }
      await patience.wait(signal);
    }
  } finally {
    notice.back(who);
  }
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
