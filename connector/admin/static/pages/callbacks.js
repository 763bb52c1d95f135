// Callbacks: what Twilio has delivered, and what this process has refused.

import { get } from "../api.js";
import { h, keyed } from "../dom.js";
import { identifier, pill, time } from "../format.js";
import { choices, layout, refreshing, table } from "../page.js";

const COLUMNS = ["Verdict", "Kind", "State", "About", { name: "Ends", class: "wide" }, "At", { name: h("span", { class: "unseen" }, "Check") }];

const key = (row) => (row.place ? `${row.place.topic}/${row.place.partition}/${row.place.offset}` : `refused/${row.number}`);

function row(entry) {
  const about = entry.sid
    ? h("a", { href: `#/commands/${encodeURIComponent(entry.story)}` }, identifier(entry.sid))
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
  if (entry.number && !cell.hasChildNodes()) {
    cell.append(h("a", { href: `#/callbacks/${entry.number}` }, entry.verdict === "refused" ? "Why?" : "Signature", h("span", { class: "unseen" }, ` of callback ${entry.number}`)));
  } else if (!entry.number) cell.replaceChildren();
}

export function open() {
  const asked = { verdict: "" };
  const { grid, body, note } = table("Callbacks", COLUMNS);
  const reading = refreshing(() => get("callbacks", asked), (data) => {
    keyed(body, data.callbacks, key, row, update);
    const idle = data.receives ? "None in the last five minutes." : "This process takes no callbacks (its roles leave them out).";
    note(data.callbacks.length, data.live ? idle : "Reading the last five minutes …");
  }, { every: true });
  const verdicts = choices("Verdict", [["", "All"], ["stored", "Stored"], ["refused", "Refused here"]], "", (value) => {
    asked.verdict = value;
    reading.now();
  });
  const element = layout(
    { title: "Callbacks", lead: "Stored callbacks of every process; what was refused is known only to the process that refused it. Signatures of the last ones of this process can be looked at." },
    h("div", { class: "filters" }, verdicts.element),
    reading.problem,
    grid,
  );
  reading.now();
  return { title: "Callbacks", element, tick: reading.tick };
}
