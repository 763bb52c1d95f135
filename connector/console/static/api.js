// The connector's data: requests under /api/, and what it tells every second.

const CUSTOM = { "X-Twilio-Kafka": "console" };

export class Problem extends Error {
  constructor(status, sentence, document = {}) {
    super(sentence);
    this.status = status;
    this.document = document;
  }
}

async function answer(response) {
  if (response.status === 401) {
    location.reload();
    throw new Problem(401, "The session is over.");
  }
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, document.error ?? `The connector answered ${response.status}.`, document);
  return document;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Problem(0, "The connector does not answer.");
  }
  return answer(response);
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = new URLSearchParams(given).toString();
  return request(`/api/${path}${search ? `?${search}` : ""}`, { headers: CUSTOM });
};

export const post = (path, body = {}) =>
  request(`/api/${path}`, {
    method: "POST",
    headers: { ...CUSTOM, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

/** Lines of JSON as they come, each to `tell`; `isOver` says of one that it is the last. Returns what stops it. */
export function lines(path, { query = {}, body, tell, isOver, fail }) {
  const stopping = new AbortController();
  const options = body === undefined ? { headers: CUSTOM } : { method: "POST", headers: { ...CUSTOM, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const run = async () => {
    const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
    const response = await fetch(`/api/${path}?${new URLSearchParams(given)}`, { credentials: "same-origin", signal: stopping.signal, ...options });
    if (!response.ok) await answer(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let over = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole.map((text) => JSON.parse(text))) {
        over ||= isOver(line);
        tell(line);
      }
    }
    if (!over) throw new Problem(0, "It was ended before its end: the connector has stopped, or this window has begun another one.");
  };
  run().catch((error) => {
    if (!stopping.signal.aborted) fail(error instanceof Problem ? error : new Problem(0, "The connector does not answer."));
  });
  return () => stopping.abort();
}

export const leave = () => fetch("/logout", { method: "POST", headers: CUSTOM, credentials: "same-origin" });

/** Ticks of the stream to `onTick`; to `onState` whether it is connected. Reconnects by itself. */
export function stream({ onTick, onState }) {
  let source = null;
  const open = () => {
    source = new EventSource("/api/stream");
    source.addEventListener("open", () => onState(true));
    source.addEventListener("tick", (event) => onTick(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      onState(false);
      // A refused stream is closed for good by the browser; a lost one is tried again by it.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000);
    });
  };
  open();
}
