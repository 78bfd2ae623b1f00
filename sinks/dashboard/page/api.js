// Talks to the interface under /api/v1.

const API = "/api/v1";
const RUN_ENDED = 1012; // what a WebSocket is closed with then

/** Asks and gives what is answered. Throws an Error with the server's own words, or that it cannot be reached. */
export async function ask(path, method = "GET", body = undefined) {
  const request = { method };
  if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(API + path, request);
  } catch {
    throw new Error("Tracklight cannot be reached. Is the run still going on?");
  }
  if (answer.status === 204) return null;
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

export const sourcePath = (id) => `/sources/${encodeURIComponent(id)}`;

/** A WebSocket that comes back. `open(socket)`, `message(event)`, `state(isOpen, hasEnded)`. */
export function socket(path, { open = () => {}, message, state = () => {} }) {
  let current = null;
  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    current = new WebSocket(`${scheme}//${location.host}${API}${path}`);
    current.binaryType = "arraybuffer";
    current.onopen = () => { state(true); open(current); };
    current.onmessage = message;
    current.onclose = (event) => { state(false, event.code === RUN_ENDED); setTimeout(connect, 1500); };
  };
  connect();
  return {
    send(value) {
      if (current.readyState !== WebSocket.OPEN) return false;
      current.send(JSON.stringify(value));
      return true;
    },
  };
}
