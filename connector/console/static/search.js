// A search in the topics: lines of JSON as they come, one search at a time.

import { Problem, lines } from "./api.js";

const viewer = String(Math.random()).slice(2);

/** Begin a search; `onFound`, `onProgress`, `onEnd` and `onProblem` hear of it. Returns what stops it. */
export function search(query, { onFound, onProgress, onEnd, onProblem }) {
  const tell = (line) => {
    if (line.found) onFound(line.found);
    else if (line.progress) onProgress(line.progress);
    else if (line.end) onEnd(line.end);
    else onProblem(new Problem(0, line.error));
  };
  return lines("search", { query: { ...query, viewer }, tell, isOver: (line) => Boolean(line.end || line.error), fail: onProblem });
}

/** Where what was typed leads: a SID or a position to its timeline, everything else to the page of found records. */
export function target(text) {
  const wanted = text.trim();
  const isOne = /^[A-Z]{2}[0-9a-f]{32}$/.test(wanted) || /^[A-Za-z0-9._-]+\/\d+\/\d+$/.test(wanted);
  return isOne ? `#/commands/${encodeURIComponent(wanted)}` : `#/search?text=${encodeURIComponent(wanted)}`;
}

/** The address of a timeline that lasts as long as the topics keep it: with a moment near which it is. */
export const timelineLink = (name, at) => `#/commands/${encodeURIComponent(name)}${at ? `?at=${encodeURIComponent(at)}` : ""}`;
