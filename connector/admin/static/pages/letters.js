// Dead letters: records that could not be used, why, and what has been decided about them.

import { get } from "../api.js";
import { h, keyed, text } from "../dom.js";
import { count, pill, time } from "../format.js";
import { choices, layout, refreshing, table } from "../page.js";

const COLUMNS = ["State", "Reason", { name: "From", class: "wide" }, { name: "Size", class: "right wide" }, "At", { name: h("span", { class: "unseen" }, "Replays") }];
const state = (letter) => letter.verdict?.decision ?? "open";
const key = (letter) => `${letter.partition}/${letter.offset}`;

function row(letter) {
  const from = letter.topic || "Twilio";
  return h(
    "tr",
    null,
    h("td"),
    h("td", { class: "reason" }, h("a", { href: `#/dead-letters/${key(letter)}` }, letter.message || letter.class || "No reason given")),
    h("td", { class: "wide" }, h("code", null, from.split(".").slice(-2).join("."))),
    h("td", { class: "right quiet wide" }, `${count(letter.size)} B`),
    h("td", null, time(letter.at)),
    h("td", { class: "quiet" }, letter.replays ? `replayed ${letter.replays}×` : ""),
  );
}

function update(element, letter) {
  const cell = element.firstElementChild;
  if (cell.textContent !== state(letter)) cell.replaceChildren(pill(state(letter)));
}

export function open() {
  let wanted = "open";
  let all = [];
  const { grid, body, note } = table("Dead letters", COLUMNS);
  const lead = h("span", { class: "quiet" });
  const draw = (live) => {
    const shown = all.filter((letter) => !wanted || state(letter) === wanted);
    keyed(body, shown, key, row, update);
    note(shown.length, live ? "None. Whatever cannot be read or validated would be here, with its reason." : "Reading …");
  };
  const reading = refreshing(() => get("dead-letters"), (data) => {
    all = data.letters;
    const of = (name) => all.filter((letter) => state(letter) === name).length;
    filters.update({ "": all.length, open: of("open"), replayed: of("replayed"), discarded: of("discarded") });
    text(lead, data.total > all.length ? `The latest ${all.length} of ${count(data.total)}.` : "");
    draw(data.live);
  });
  const filters = choices("State", [["open", "Open"], ["replayed", "Replayed"], ["discarded", "Discarded"], ["", "All"]], wanted, (value) => {
    wanted = value;
    draw(true);
  });
  const element = layout(
    { title: "Dead letters", lead: "Records that could not be read or validated. Their content is shown when you ask for it; replaying writes them to their topic again." },
    h("div", { class: "filters" }, filters.element, lead),
    reading.problem,
    grid,
  );
  reading.now();
  return { title: "Dead letters", element, tick: reading.tick };
}
