// Events: what was published lately, by topic, state, number, code or connection; errors by their code.

import { get } from "../api.js";
import { h, keyed, text } from "../dom.js";
import { count, identifier, pill, plural, time, wholeMoment } from "../format.js";
import { layout, paging, refreshing, remember, table } from "../page.js";
import { timelineLink } from "../search.js";

const COLUMNS = [
  { name: "At", sort: "at" },
  { name: "Record", sort: "name" },
  { name: "State", sort: "state" },
  { name: "Ends", class: "wide", sort: "ends" },
  { name: "SID", sort: "sid" },
  { name: "Code", class: "right", sort: "code" },
];
const GROUPS = ["Code", "What it says", { name: "Count", class: "right" }, { name: "First", class: "wide" }, "Last"];
const FIELDS = [["name", "Topic"], ["state", "State"], ["code", "Code"], ["connection", "Connection"]];

const codeLink = (code, page) => (page ? h("a", { href: page, target: "_blank", rel: "noopener noreferrer" }, code, h("span", { class: "unseen" }, " at Twilio, in a new window")) : h("code", null, code));

function row(entry) {
  return h(
    "tr",
    null,
    h("td", null, time(entry.at)),
    h("td", null, h("a", { href: timelineLink(entry.timeline, entry.at) }, entry.kind === "event" ? entry.name : `${entry.kind} ${entry.name}`)),
    h("td", null, entry.state ? pill(entry.state) : null),
    h("td", { class: "quiet wide" }, entry.ends),
    h("td", null, entry.sid ? identifier(entry.sid) : ""),
    h("td", { class: "right" }, entry.code),
  );
}

export function open({ query }) {
  const asked = Object.fromEntries([...FIELDS.map(([name]) => name), "ends", "sid", "since", "until", "sort"].map((name) => [name, query.get(name) ?? ""]));
  const errors = table("Errors by code", GROUPS);
  const lead = h("p", { class: "quiet", role: "status" });
  const more = paging(() => reading.now());
  const further = h("a", { class: "quiet", hidden: true }, "Search the topics for these");
  const ask = (given) => {
    Object.assign(asked, given);
    remember("events", asked);
    reading.now();
  };
  const { grid, body, note } = table("Events", COLUMNS, { asked, ask });
  const selects = FIELDS.map(([name, label]) => h("select", { id: `by-${name}`, on: { change: (event) => ask({ [name]: event.target.value }) } }));
  const fill = (select, name, values) => {
    const wanted = { "": "any", ...Object.fromEntries(Object.entries(values).map(([value, number]) => [value, `${value} (${count(number)})`])) };
    if (asked[name] && !(asked[name] in wanted)) wanted[asked[name]] = asked[name];
    if (document.activeElement === select) return;
    keyed(select, Object.entries(wanted), ([value]) => `-${value}`, ([value]) => h("option", { value }), (option, [, words]) => text(option, words));
    select.value = asked[name];
  };
  const typed = (name, placeholder) => h("input", { id: `by-${name}`, type: "search", value: asked[name], placeholder, autocomplete: "off", spellcheck: "false", on: { input: (event) => ask({ [name]: event.target.value.trim() }) } });
  const moment = (name) => h("input", {
    id: `by-${name}`,
    type: "datetime-local",
    step: "1",
    value: asked[name] ? new Date(new Date(asked[name]).getTime() - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 19) : "",
    on: { change: (event) => ask({ [name]: event.target.value ? new Date(event.target.value).toISOString() : "" }) },
  });
  const field = (name, label, control) => h("div", { class: "field" }, h("label", { for: `by-${name}` }, label), control);

  const reading = refreshing(() => get("events", { ...asked, limit: more.limit() }), (data) => {
    keyed(body, data.events, (entry) => Object.values(entry.position).join("/"), row, () => {});
    note(data.events.length, data.live ? "No such event in memory: search the topics for older ones." : "Reading the last five minutes …");
    keyed(errors.body, data.groups, (group) => group.code, (group) => h("tr", null, h("td", null, codeLink(group.code, group.page)), h("td", { class: "reason" }), h("td", { class: "right" }), h("td", { class: "wide" }), h("td")), (element, group) => {
      const [, says, number, first, last] = element.children;
      text(says, group.error);
      text(number, count(group.count));
      first.replaceChildren(time(group.first));
      last.replaceChildren(time(group.last));
    });
    errors.grid.hidden = data.groups.length === 0;
    FIELDS.forEach(([name], index) => fill(selects[index], name, data.choices[name]));
    more.show(data.total, data.events.length);
    text(lead, data.since ? `${plural(data.total, "event")}${data.total > data.events.length ? `, the ${asked.sort ? "first" : "latest"} ${count(data.events.length)} shown` : ""}. In memory since ${wholeMoment(data.since)}.` : "");
    const conditions = [...FIELDS.map(([name]) => name), "ends", "sid"].filter((name) => asked[name]).map((name) => `${name}='${asked[name]}'`).join(" ");
    further.hidden = conditions === "";
    further.href = `#/search?${new URLSearchParams({ text: conditions, within: "1440" })}`;
  }, { every: true });
  const element = layout(
    { title: "Events", lead: "What was published lately: watched records, callbacks, results and dead letters. A code leads to Twilio’s page about it." },
    errors.grid,
    h(
      "div",
      { class: "fields narrow" },
      FIELDS.map(([name, label], index) => field(name, label, selects[index])),
      field("ends", "Number ends with", typed("ends", "4321")),
      field("sid", "SID", typed("sid", "SM…")),
      field("since", "From", moment("since")),
      field("until", "To", moment("until")),
    ),
    h("div", { class: "filters" }, lead, further),
    reading.problem,
    grid,
    more.element,
  );
  reading.now();
  return { title: "Events", element, tick: reading.tick };
}
