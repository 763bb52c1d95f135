// The connector's data: requests under /api/, and what it tells every second.

const CUSTOM = { "X-Twilio-Kafka": "console" };

export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function answer(response) {
  if (response.status === 401) {
    location.reload();
    throw new Problem(401, "The session is over.");
  }
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, document.error ?? `The connector answered ${response.status}.`);
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
