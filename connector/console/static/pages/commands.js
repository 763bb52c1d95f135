// Commands: the latest ones, by outcome, and those that nobody knows the outcome of.

import { get } from "../api.js";
import { h, keyed, text } from "../dom.js";
import { count, duration, elapsed, identifier, pill, time } from "../format.js";
import { choices, layout, paging, refreshing, remember, table } from "../page.js";
import { timelineLink } from "../search.js";

const STATES = [
  ["", "All"],
  ["succeeded", "Succeeded"],
  ["failed", "Failed"],
  ["rejected", "Rejected"],
  ["in doubt", "In doubt"],
  ["open", "Under way"],
];
const COLUMNS = [
  { name: "State", sort: "state" },
  { name: "Command", sort: "command" },
  { name: "Id", sort: "id" },
  { name: "Twilio’s SID", class: "wide", sort: "sid" },
  { name: "Since", sort: "began" },
  { name: "Took", class: "right", sort: "took" },
  { name: "Last heard", class: "wide", sort: "last" },
];

function row(story) {
  const link = h("a", { href: timelineLink(story.link, story.began) }, identifier(story.id));
  return h("tr", null, h("td"), h("td", null, story.command), h("td", null, link), h("td", { class: "wide" }), h("td", null, time(story.began)), h("td", { class: "right" }), h("td", { class: "wide" }));
}

function update(element, story) {
  const cells = element.children;
  if (cells[0].textContent !== story.state) cells[0].replaceChildren(pill(story.state));
  if (story.sid && !cells[3].hasChildNodes()) cells[3].append(identifier(story.sid));
  text(cells[5], story.records > 1 ? duration(elapsed(story.began, story.updated)) : "");
  text(cells[6], story.last === "sending" ? "" : story.last);
}

export function open({ query }) {
  const asked = { state: query.get("state") ?? "", text: query.get("text") ?? "", sort: query.get("sort") ?? "" };
  const ask = (more) => {
    Object.assign(asked, more);
    remember("commands", asked);
    reading.now();
  };
  const { grid, body, note } = table("Commands", COLUMNS, { asked, ask });
  const lead = h("span");
  const further = h("a", { class: "quiet", hidden: true }, "Search the topics for it");
  const more = paging(() => reading.now());
  const load = () => get("commands", { ...asked, limit: more.limit() });
  const reading = refreshing(load, (data) => {
    keyed(body, data.commands, (story) => story.link, row, update);
    const sentence = data.live ? asked.text || asked.state ? "No such command among the latest." : "No command in the last five minutes. Send one from the page Send." : "Reading the last five minutes …";
    note(data.commands.length, sentence);
    more.show(data.total, data.commands.length);
    further.hidden = asked.text.length < 4;
    further.href = `#/search?${new URLSearchParams({ text: asked.text })}`;
    const known = Object.values(data.states).reduce((sum, number) => sum + number, 0);
    const sum = (...states) => states.reduce((total, state) => total + (data.states[state] ?? 0), 0);
    states.update({ "": known, succeeded: sum("succeeded"), failed: sum("failed", "expired"), rejected: sum("rejected"), "in doubt": sum("in doubt", "unknown"), open: sum("waiting", "in flight") });
    text(lead, data.total > data.commands.length ? `${asked.sort ? "The first" : "The latest"} ${data.commands.length} of ${count(data.total)}.` : "");
  }, { every: true });
  const states = choices("Outcome", [...STATES, ...(asked.state === "trouble" ? [["trouble", "In trouble"]] : [])], asked.state, (state) => ask({ state }));
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "Part of an id or SID",
    value: asked.text,
    on: { input: (event) => ask({ text: event.target.value.trim() }) },
  });
  const element = layout(
    { title: "Commands", lead: "The last few thousand, each with its result and every event that belongs to it." },
    h("div", { class: "filters" }, states.element, h("label", { class: "unseen", for: "search" }, "Part of an id or SID"), search, lead, further),
    reading.problem,
    grid,
    more.element,
  );
  reading.now();
  return { title: "Commands", element, tick: reading.tick };
}
