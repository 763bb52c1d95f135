// Search: what the topics hold of an id, of a correlation id, or of a number by its last digits.

import { h, text } from "../dom.js";
import { count, identifier, pill, plural, time, wholeMoment } from "../format.js";
import { choices, layout, table } from "../page.js";
import { search, target, timelineLink } from "../search.js";

const COLUMNS = ["At", "Record", "State", { name: "Ends", class: "wide" }, { name: "SID", class: "wide" }, "Timeline"];
const MINUTES = [["15", "15 minutes"], ["60", "1 hour"], ["1440", "24 hours"], ["all", "Everything"], ["custom", "Other …"]];

const local = (date) => new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);

function row(entry) {
  return h(
    "tr",
    null,
    h("td", null, time(entry.at)),
    h("td", null, entry.kind === "event" ? entry.name : `${entry.kind} ${entry.name}`),
    h("td", null, entry.state ? pill(entry.state) : null, entry.code ? h("span", { class: "quiet" }, ` ${entry.code}`) : null),
    h("td", { class: "quiet wide" }, entry.ends),
    h("td", { class: "wide" }, entry.sid ? identifier(entry.sid) : ""),
    h("td", null, h("a", { href: timelineLink(entry.timeline, entry.at) }, identifier(entry.timeline))),
  );
}

export function open({ query }) {
  const wanted = (query.get("text") ?? "").trim();
  const chosen = query.get("within") ?? "60";
  const { grid, body, note } = table("Found records", COLUMNS);
  const progress = h("progress", { max: "1", value: 0, "aria-label": "How much has been searched", hidden: true });
  const status = h("p", { class: "quiet", role: "status" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const stopButton = h("button", { type: "button", hidden: true, on: { click: () => finish("Stopped.") } }, "Stop");
  const found = [];
  let last = null;
  let stop = () => {};

  const range = () => {
    if (chosen === "all") return { since: "1970-01-01T00:00:00Z" };
    if (chosen === "custom") return { since: query.get("since"), until: query.get("until") };
    return { since: new Date(Date.now() - Number(chosen) * 60_000).toISOString() };
  };
  const finish = (sentence) => {
    stop();
    progress.hidden = true;
    stopButton.hidden = true;
    const read = last ? ` ${count(last.done)} of ${count(last.total)} records were read${last.since ? `, written since ${wholeMoment(last.since)}` : ""}.` : "";
    text(status, `${sentence} ${plural(found.length, "record")} found.${read}`);
    note(found.length, "Nothing that fits. Choose a longer time, or look at how it is written.");
  };
  const begin = () => {
    progress.hidden = false;
    stopButton.hidden = false;
    text(status, "Searching …");
    stop = search({ text: wanted, ...range() }, {
      onFound: (entry) => {
        const place = found.findIndex((other) => other.at < entry.at);
        const shown = row(entry);
        if (place < 0) {
          found.push(entry);
          body.append(shown);
        } else {
          found.splice(place, 0, entry);
          body.insertBefore(shown, body.children[place]);
        }
        note(found.length, "");
      },
      onProgress: (told) => {
        last = told;
        progress.max = Math.max(told.total, 1);
        progress.value = told.total ? told.done : 1;
        text(status, `Searching ${told.words}: ${count(told.done)} of ${count(told.total)} records, ${plural(found.length, "record")} found …`);
      },
      onEnd: (end) => finish(end.is_cut ? "There is more than is shown: choose a shorter time." : "Searched."),
      onProblem: (error) => {
        finish("Not searched to the end.");
        problem.hidden = false;
        text(problem, error.message);
      },
    });
  };

  const go = (more) => {
    const next = new URLSearchParams({ text: field.value.trim(), within: chosen, ...more });
    location.hash = `#/search?${next}`;
  };
  const field = h("input", { type: "search", id: "what", value: wanted, placeholder: "SID, id, correlation id, last digits, topic/partition/offset" });
  const since = h("input", { type: "datetime-local", id: "since", value: query.get("since") ? local(new Date(query.get("since"))) : local(new Date(Date.now() - 3600_000)) });
  const until = h("input", { type: "datetime-local", id: "until", value: query.get("until") ? local(new Date(query.get("until"))) : local(new Date()) });
  const submit = (event) => {
    event.preventDefault();
    const typed = field.value.trim();
    if (chosen === "custom") go({ since: new Date(since.value).toISOString(), until: new Date(until.value).toISOString() });
    else if (target(typed) !== `#/search?text=${encodeURIComponent(typed)}`) location.hash = target(typed);
    else go({});
  };
  const ranges = choices("How far back", MINUTES, chosen, (value) => {
    const times = value === "custom" ? { since: new Date(since.value).toISOString(), until: new Date(until.value).toISOString() } : {};
    go({ within: value, ...times });
  });
  const element = layout(
    { title: "Search", lead: "Searched in memory first, then in the topics. The last digits of a number are enough; * stands for any text." },
    h(
      "form",
      { class: "filters", role: "search", "aria-label": "Search the topics", on: { submit } },
      h("label", { class: "unseen", for: "what" }, "What to look for"),
      field,
      ranges.element,
      chosen === "custom" ? [h("label", { for: "since" }, "From"), since, h("label", { for: "until" }, "To"), until] : null,
      h("button", { type: "submit", class: "primary" }, "Search"),
      stopButton,
    ),
    progress,
    status,
    problem,
    grid,
  );
  if (wanted) begin();
  else {
    note(0, "Type what you look for.");
    queueMicrotask(() => field.focus());
  }
  return { title: "Search", element, close: () => stop() };
}
