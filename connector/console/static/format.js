// Times, durations, numbers and states as people read them.

import { h, toast, visible } from "./dom.js";

const ZONE = "twilio-kafka.utc";
const formats = (timeZone) => ({
  clock: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone }),
  day: new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone }),
  whole: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", hour12: false, timeZone }),
});
let isUtc = localStorage.getItem(ZONE) === "yes";
let zone = formats(isUtc ? "UTC" : undefined);

export const showsUtc = () => isUtc;
/** Times in UTC, or in the browser's zone; remembered by the browser. */
export function setUtc(wanted) {
  isUtc = wanted;
  localStorage.setItem(ZONE, wanted ? "yes" : "no");
  zone = formats(wanted ? "UTC" : undefined);
}

/** The clock of a moment; with its day unless that is today. */
export function moment(value) {
  const date = new Date(value);
  const clock = `${zone.clock.format(date)}${isUtc ? " UTC" : ""}`;
  return zone.day.format(new Date()) === zone.day.format(date) && Math.abs(Date.now() - date) < 86_400_000 ? clock : `${zone.day.format(date)}, ${clock}`;
}

/** Day, clock and zone of a moment. */
export const wholeMoment = (value) => zone.whole.format(new Date(value));

/** A <time>; the whole moment in UTC on request of the pointer. */
export function time(value) {
  if (!value) return h("span", { class: "quiet" }, "never");
  const iso = new Date(value).toISOString();
  return h("time", { datetime: iso, title: iso.replace("T", " ").replace("Z", " UTC") }, moment(value));
}

/** Buttons that copy texts: `[[name, text], …]`. */
export const copies = (items) =>
  h(
    "div",
    { class: "actions start copies" },
    items.map(([name, value]) => {
      const copy = async () => {
        try {
          await navigator.clipboard.writeText(value);
          toast(`Copied the ${name}.`);
        } catch {
          toast("The browser does not allow copying here (it does over HTTPS and on this machine).", "bad");
        }
      };
      return h("button", { type: "button", class: "plain", title: value, on: { click: copy } }, `Copy ${name}`);
    }),
  );

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 1) return seconds <= 0 ? "none" : `${Math.round(seconds * 1000)} ms`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, unit] of units) if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

export const elapsed = (from, to) => (new Date(to) - new Date(from)) / 1000;

export function rate(perSecond) {
  if (perSecond === 0) return "0";
  if (perSecond < 10) return perSecond.toFixed(1);
  return Math.round(perSecond).toLocaleString();
}

export const count = (number) => number.toLocaleString();
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const SHORT = 18;
/** The beginning and the end of a long identifier; the whole one on request of the pointer. */
export function identifier(name) {
  const shown = name.length <= SHORT ? name : `${name.slice(0, 8)}…${name.slice(-6)}`;
  return h("code", { title: name }, shown);
}

const GOOD = ["succeeded", "delivered", "received", "completed", "read", "stored", "watching", "complete", "duplicate", "matches", "replayed"];
const BAD = ["failed", "rejected", "undelivered", "unknown", "expired", "refused", "silent", "failing", "unreadable", "interrupted", "busy", "no-answer"];
const WARN = ["in doubt", "paused", "not configured", "canceled", "open"];
const BUSY = ["in flight", "waiting", "catching up", "backfilling", "sending", "not started"];

export function tone(state) {
  if (GOOD.includes(state)) return "good";
  if (BAD.includes(state)) return "bad";
  if (WARN.includes(state)) return "warn";
  return BUSY.includes(state) ? "busy" : "none";
}

const LONGEST_STATE = 24;
/** A state as a word with a mark in front of it, so that colour is not all there is. Of a stranger's text the beginning. */
export const pill = (state) =>
  h("span", { class: `pill ${tone(state)}`, title: state?.length > LONGEST_STATE ? state : null }, state?.length > LONGEST_STATE ? `${state.slice(0, LONGEST_STATE)}…` : state || "-");

/** JSON for reading: keys and values apart, as text. */
export function json(value) {
  const block = h("pre", { class: "json", tabindex: "0", role: "group", "aria-label": "Values" });
  const whole = visible(JSON.stringify(value, null, 2) ?? "");
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|[^"]+/g;
  for (const found of whole.matchAll(pattern)) {
    if (found[2]) block.append(h("span", { class: "key" }, found[1].slice(1, -1)), ": ");
    else if (found[1]) block.append(h("span", { class: "string" }, found[1]));
    else block.append(found[0].replace(/^: /, ""));
  }
  return block;
}
