// Requests to this page's own server, and the stream of its events.

/** An error that the server described in one line. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let onRefused = () => {};

/** What to do when the server wants its token. */
export function whenRefused(callback) {
  onRefused = callback;
}

async function failure(response) {
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // Not our JSON: the status has to do.
  }
  if (response.status === 401) onRefused();
  return new ApiError(response.status, message);
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/** GET; the response. */
export const get = (path, signal) => request(path, { signal });

export const getJson = async (path) => (await get(path)).json();

/** POST a JSON body; the JSON that comes back. */
export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  const response = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

/** POST a JPEG. */
export const postPicture = (path, blob) =>
  request(path, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: blob });

/**
 * Follow the server's events; reconnects by itself.
 * `onLink(true)` says that it is connected, and that the state must be read again.
 */
export function followEvents(onEvent, onLink) {
  let source = null;
  const open = () => {
    source = new EventSource("/api/events");
    source.onopen = () => onLink(true);
    source.onmessage = (message) => onEvent(JSON.parse(message.data));
    source.onerror = () => {
      onLink(false);
      // The browser does not try again after a refusal, such as one for too many connections.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000);
    };
  };
  open();
  return () => source.close();
}
