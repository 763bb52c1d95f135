// Settings: what is in effect, and where each value comes from. Secrets never leave the process.

import { get } from "../api.js";
import { h, keyed } from "../dom.js";
import { choices, layout, refreshing, remember, table } from "../page.js";

const written = (value) => (typeof value === "string" && value !== "" ? value : JSON.stringify(value));
const isDefault = (row) => row.origin === "default";

function row(setting) {
  return h(
    "tr",
    { class: isDefault(setting) ? "quiet" : "" },
    h("th", { scope: "row" }, h("code", { class: "wrap" }, setting.key)),
    h("td", null, h("code", { class: "wrap" }, written(setting.value))),
    h("td", null, h("span", { class: "origin" }, setting.origin)),
  );
}

export function open({ query }) {
  let all = [];
  const asked = { changed: query.get("which") === "all" ? "" : "changed", text: query.get("text") ?? "" };
  const keep = () => remember("settings", { which: asked.changed ? "" : "all", text: asked.text });
  const { grid, body, note } = table("Settings", ["Key", "Value", "From"]);
  const draw = () => {
    const shown = all.filter((setting) => (!asked.changed || !isDefault(setting)) && setting.key.includes(asked.text));
    keyed(body, shown, (setting) => setting.key, row, () => {});
    note(shown.length, "No such setting.");
  };
  const reading = refreshing(() => get("settings"), (data) => {
    all = data.settings;
    which.update({ changed: all.filter((setting) => !isDefault(setting)).length, "": all.length });
    draw();
  });
  const which = choices("Which", [["changed", "Set by you"], ["", "All"]], asked.changed, (value) => {
    asked.changed = value;
    keep();
    draw();
  });
  const search = h("input", { type: "search", id: "search", placeholder: "Part of a key", value: asked.text, on: { input: (event) => { asked.text = event.target.value.trim(); keep(); draw(); } } });
  const element = layout(
    { title: "Settings", lead: "What is in effect in this process. twilio-kafka config explain KEY says what a key does." },
    h("div", { class: "filters" }, which.element, h("label", { class: "unseen", for: "search" }, "Part of a key"), search),
    reading.problem,
    grid,
  );
  reading.now();
  return { title: "Settings", element };
}
