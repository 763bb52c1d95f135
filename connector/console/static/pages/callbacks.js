// Callbacks: what Twilio has delivered, and what this process has refused.

import { get } from "../api.js";
import { h, keyed } from "../dom.js";
import { identifier, pill, time } from "../format.js";
import { choices, layout, paging, refreshing, remember, table } from "../page.js";
import { timelineLink } from "../search.js";

const COLUMNS = [
  { name: "Verdict", sort: "verdict" },
  { name: "Kind", sort: "name" },
  { name: "State", sort: "state" },
  { name: "About", sort: "sid" },
  { name: "Ends", class: "wide", sort: "detail" },
  { name: "At", sort: "at" },
  { name: h("span", { class: "unseen" }, "Check") },
];

const key = (row) => (row.position ? `${row.position.topic}/${row.position.partition}/${row.position.offset}` : `refused/${row.number}`);

function row(entry) {
  const about = entry.sid
    ? h("a", { href: timelineLink(entry.timeline, entry.at) }, identifier(entry.sid))
    : h("span", { class: "quiet" }, entry.reason);
  return h(
    "tr",
    null,
    h("td", null, pill(entry.verdict)),
    h("td", null, entry.name),
    h("td", null, entry.verdict === "refused" ? `answered ${entry.state}` : entry.state),
    h("td", null, about),
    h("td", { class: "quiet wide" }, entry.detail ?? ""),
    h("td", null, time(entry.at)),
    h("td", { class: "right" }),
  );
}

function update(element, entry) {
  const cell = element.lastElementChild;
  // A stored callback is addressed by its record, which lasts; a refused one by its number in this process.
  const isRefused = entry.verdict === "refused";
  const address = isRefused ? `${entry.number}?at=${encodeURIComponent(entry.at)}` : key(entry);
  const name = isRefused ? "Why?" : entry.number ? "Signature" : "Record";
  if (cell.firstElementChild?.dataset.name === name) return;
  const about = h("span", { class: "unseen" }, ` of ${isRefused ? `callback ${entry.number}` : key(entry)}`);
  cell.replaceChildren(h("a", { href: `#/callbacks/${address}`, "data-name": name }, name, about));
}

export function open({ query }) {
  const asked = { verdict: query.get("verdict") ?? "", sort: query.get("sort") ?? "" };
  const ask = (given) => {
    Object.assign(asked, given);
    remember("callbacks", asked);
    reading.now();
  };
  const { grid, body, note } = table("Callbacks", COLUMNS, { asked, ask });
  const more = paging(() => reading.now());
  const reading = refreshing(() => get("callbacks", { ...asked, limit: more.limit() }), (data) => {
    keyed(body, data.callbacks, key, row, update);
    more.show(data.total, data.callbacks.length);
    const idle = data.receives ? "None in the last five minutes." : "This process takes no callbacks (its roles leave them out).";
    note(data.callbacks.length, data.live ? idle : "Reading the last five minutes …");
  }, { every: true });
  const verdicts = choices("Verdict", [["", "All"], ["stored", "Stored"], ["refused", "Refused here"]], asked.verdict, (verdict) => ask({ verdict }));
  const element = layout(
    { title: "Callbacks", lead: "Stored callbacks of every process; what was refused is known only to the process that refused it. Signatures of the last ones of this process can be looked at." },
    h("div", { class: "filters" }, verdicts.element),
    reading.problem,
    grid,
    more.element,
  );
  reading.now();
  return { title: "Callbacks", element, tick: reading.tick };
}
