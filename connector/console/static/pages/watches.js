// Watches: where each stands, and what can be asked of it.

import { get, post } from "../api.js";
import { confirm, h, keyed, text, toast } from "../dom.js";
import { duration, elapsed, moment, pill, plural, time } from "../format.js";
import { facts, layout, refreshing } from "../page.js";

const local = (date) => new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);

const ASK = {
  pause: (name) => ({
    title: `Pause ${name}?`,
    lines: ["Nobody polls its list until it is resumed, restarts included. Nothing is skipped: it goes on where it stands."],
    action: "Pause",
  }),
  rewind: (name) => ({
    title: `Rewind ${name}?`,
    lines: ["Everything that was created since then is published again. The events have the same ids as the first time, so that consumers recognise them."],
    fields: [
      h("label", { for: "rewind-to" }, "Back to (your time)"),
      h("input", { id: "rewind-to", name: "to", type: "datetime-local", step: "1", required: true, value: local(new Date(Date.now() - 3600_000)), max: local(new Date()) }),
    ],
    action: "Rewind",
    danger: true,
  }),
};

async function ask(watch, action, done) {
  const asked = ASK[action] ? await confirm(ASK[action](watch.name)) : {};
  if (asked === null) return;
  const body = asked.to ? { to: new Date(asked.to).toISOString() } : {};
  try {
    const answer = await post(`watches/${encodeURIComponent(watch.name)}/${action}`, body);
    toast(`${watch.name}: ${answer.message}`, answer.done ? "good" : "bad");
  } catch (error) {
    toast(error.message, "bad");
  }
  done();
}

function card(refresh) {
  return (watch) => {
    const button = (action, name) => h("button", { type: "button", "data-action": action, on: { click: () => ask(current.get(watch.name), action, refresh) } }, name);
    return h(
      "article",
      { class: "card watch" },
      h("div", { class: "watch-head" }, h("h2", null, watch.title ?? watch.name), h("span", { class: "slot" })),
      h("p", { class: "quiet what" }),
      h("p", { class: "standing" }),
      h("p", { class: "problem", hidden: true }),
      h("div", { class: "numbers" }),
      h("p", { class: "quiet answer" }),
      h("div", { class: "actions start" }, button("pause", "Pause"), button("resume", "Resume"), button("rescan", "Scan now"), button("rewind", "Rewind …"), h("a", { class: "events" }, "Its events", h("span", { class: "unseen" }, ` of ${watch.name}`))),
    );
  };
}

const current = new Map();

/** What is wrong with a watch, and since when. */
function trouble(watch) {
  if (watch.state === "interrupted") return `It was interrupted at ${moment(watch.polled_at)}. This goes on with it: ${watch.command}`;
  if (watch.state === "silent") return `No process has polled it since ${moment(watch.polled_at)}: is one running with the role watch and this watch?`;
  if (!watch.failing) return "";
  return `Stands still${watch.failing_since ? ` since ${moment(watch.failing_since)}` : ""}: ${watch.failing}`;
}

/** Where a watch stands, in one sentence. */
function standing(watch, now) {
  const ago = watch.polled_at ? elapsed(watch.polled_at, now) : null;
  const polled = ago === null ? "" : `polled ${ago < 1 ? "just now" : `${duration(ago)} ago`}`;
  switch (watch.state) {
    case "watching":
      return `Up to date, ${polled}.`;
    case "catching up":
      return `Behind by ${duration(watch.lag_seconds)}, ${polled}.`;
    case "backfilling":
      return `Published up to ${moment(watch.complete_until ?? watch.since)}, ${polled}.`;
    case "paused":
      return `Paused since ${moment(watch.paused_at)}; nothing is skipped.`;
    case "complete":
      return "Everything is published.";
    case "not started":
      return "No process has polled it yet.";
    default:
      return "";
  }
}

function update(element, watch, now) {
  current.set(watch.name, watch);
  const part = (selector) => element.querySelector(selector);
  const state = watch.state;
  if (part(".slot").textContent !== state) part(".slot").replaceChildren(pill(state));
  const settings = watch.settings;
  const filters = Object.entries(settings.filters ?? {}).map(([name, value]) => `${name} ${value}`);
  text(part(".what"), [watch.resource, watch.connection && `connection ${watch.connection}`, settings.interval && `every ${settings.interval}`, settings.overlap && `reads the last ${settings.overlap} again`, settings.emit === "changes" && "with changes", ...filters].filter(Boolean).join(" · "));
  const wrong = trouble(watch);
  part(".problem").hidden = !wrong;
  text(part(".problem"), wrong);
  text(part(".standing"), standing(watch, now));
  const numbers = facts([
    ["Complete until", watch.state === "watching" ? null : time(watch.complete_until)],
    ["Reads from", watch.state === "watching" ? null : time(watch.since)],
    ["Catching up to", watch.until ? time(watch.until) : null],
    ["Remembers", plural(watch.remembered, "record")],
    ["Follows", watch.followed ? plural(watch.followed, "open record") : null],
    ["Runs in", watch.here ? "this process" : ["watching", "catching up", "paused", "failing"].includes(watch.state) ? "another process" : null],
  ]);
  if (part(".numbers").textContent !== numbers.textContent) part(".numbers").replaceChildren(numbers);
  text(part(".answer"), watch.answer ? `Last asked: ${watch.answer.message}` : "");
  part(".events").href = `#/events?name=${encodeURIComponent(watch.resource)}`;
  const isPaused = watch.state === "paused";
  part("[data-action=pause]").hidden = isPaused;
  part("[data-action=resume]").hidden = !isPaused;
  part("[data-action=rescan]").disabled = isPaused;
  part(".actions").hidden = ["backfilling", "interrupted", "complete", "not configured"].includes(watch.state);
}

export function open() {
  const list = h("div", { class: "cards" });
  const reading = refreshing(() => get("watches"), ({ watches, now }) => {
    keyed(list, watches, (watch) => watch.name, card(() => reading.now()), (element, watch) => update(element, watch, now));
  }, { every: true });
  const element = layout(
    { title: "Watches", lead: "Lists at Twilio that are polled. Pausing, rewinding and scanning reach the owner of a watch wherever it runs." },
    reading.problem,
    list,
  );
  reading.now();
  return { title: "Watches", element, tick: reading.tick };
}
