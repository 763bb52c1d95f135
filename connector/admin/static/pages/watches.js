// Watches: where each stands, and what can be asked of it.

import { get, post } from "../api.js";
import { confirm, h, keyed, text, toast } from "../dom.js";
import { duration, pill, plural, time } from "../format.js";
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
      h("div", { class: "watch-head" }, h("h2", null, watch.name), h("span", { class: "slot" })),
      h("p", { class: "quiet what" }),
      h("p", { class: "problem", hidden: true }),
      h("div", { class: "numbers" }),
      h("p", { class: "quiet answer" }),
      h("div", { class: "actions start" }, button("pause", "Pause"), button("resume", "Resume"), button("rescan", "Scan now"), button("rewind", "Rewind …")),
    );
  };
}

const current = new Map();

function update(element, watch) {
  current.set(watch.name, watch);
  const part = (selector) => element.querySelector(selector);
  const state = watch.state;
  if (part(".slot").textContent !== state) part(".slot").replaceChildren(pill(state));
  const settings = watch.settings;
  const filters = Object.entries(settings.filters ?? {}).map(([name, value]) => `${name} ${value}`);
  text(part(".what"), [watch.resource, watch.connection && `connection ${watch.connection}`, settings.interval && `every ${settings.interval}`, settings.overlap && `reads the last ${settings.overlap} again`, settings.emit === "changes" && "with changes", ...filters].filter(Boolean).join(" · "));
  part(".problem").hidden = !watch.failing;
  text(part(".problem"), watch.failing ? `Stands still${watch.failing_since ? ` since ${time(watch.failing_since)}` : ""}: ${watch.failing}` : "");
  const numbers = facts([
    ["Lag", duration(watch.lag_seconds)],
    ["Complete until", time(watch.complete_until)],
    ["Polled at", time(watch.polled_at)],
    ["Reads from", time(watch.since)],
    ["Catching up to", watch.until ? time(watch.until) : null],
    ["Paused since", watch.paused_at ? time(watch.paused_at) : null],
    ["Remembers", plural(watch.remembered, "record")],
    ["Follows", watch.followed ? plural(watch.followed, "open record") : null],
    ["Runs in", watch.here ? "this process" : "another process"],
  ]);
  if (part(".numbers").textContent !== numbers.textContent) part(".numbers").replaceChildren(numbers);
  text(part(".answer"), watch.answer ? `Last asked: ${watch.answer.message}` : "");
  const isPaused = watch.state === "paused";
  part("[data-action=pause]").hidden = isPaused;
  part("[data-action=resume]").hidden = !isPaused;
  part("[data-action=rescan]").disabled = isPaused;
  part(".actions").hidden = ["backfilling", "complete", "not configured"].includes(watch.state);
}

export function open() {
  const list = h("div", { class: "cards" });
  const reading = refreshing(() => get("watches"), ({ watches }) => {
    keyed(list, watches, (watch) => watch.name, card(() => reading.now()), update);
  }, { every: true });
  const element = layout(
    { title: "Watches", lead: "Lists at Twilio that are polled. Pausing, rewinding and scanning reach the owner of a watch wherever it runs." },
    reading.problem,
    list,
  );
  reading.now();
  return { title: "Watches", element, tick: reading.tick };
}
