// Dead letters: records that could not be used, by reason, and what has been decided about them.

import { get, lines, post } from "../api.js";
import { confirm, h, keyed, text, toast } from "../dom.js";
import { count, pill, plural, time } from "../format.js";
import { choices, layout, paging, refreshing, remember, table } from "../page.js";

const GROUPS = ["Reason", { name: "From", class: "wide" }, { name: "Open", class: "right" }, { name: "First", class: "wide" }, "Last", { name: h("span", { class: "unseen" }, "Actions") }];
const COLUMNS = [
  { name: "State", sort: "state" },
  { name: "Reason", sort: "message" },
  { name: "From", class: "wide", sort: "topic" },
  { name: "Size", class: "right wide", sort: "size" },
  { name: "At", sort: "at" },
  { name: h("span", { class: "unseen" }, "Replays") },
];
const state = (letter) => letter.verdict?.decision ?? "open";
const key = (letter) => `${letter.partition}/${letter.offset}`;
const from = (letter) => (letter.topic || "Twilio").split(".").slice(-2).join(".");

function row(letter) {
  return h(
    "tr",
    null,
    h("td"),
    h("td", { class: "reason" }, h("a", { href: `#/dead-letters/${key(letter)}` }, letter.message || letter.class || "No reason given")),
    h("td", { class: "wide" }, h("code", null, from(letter))),
    h("td", { class: "right quiet wide" }, `${count(letter.size)} B`),
    h("td", null, time(letter.at)),
    h("td", { class: "quiet" }, letter.replays ? `replayed ${letter.replays}×` : ""),
  );
}

function update(element, letter) {
  const cell = element.firstElementChild;
  if (cell.textContent !== state(letter)) cell.replaceChildren(pill(state(letter)));
}

/** What the plan says, as sentences. */
function planned(action, plan, group) {
  const topics = Object.entries(plan.topics).map(([topic, number]) => `${count(number)} to ${topic}`);
  const skipped = Object.entries(plan.skipped).filter(([kind]) => kind !== "decided").map(([kind, number]) => `Left out: ${count(number)} (${kind}).`);
  const fails = plan.fails.count ? [`${plan.fails.count === plan.chosen ? "All of them" : count(plan.fails.count)} must fail again as they are: ${plan.fails.sentence}`] : [];
  const what = action === "replay" ? `${topics.join(", ")}, with key and headers, each once. A connector executes them.` : "They count as dealt with, for everybody. The records stay in their topic.";
  return [group.message, ...fails, what, ...skipped];
}

export function open({ query }) {
  const asked = { state: query.get("state") ?? "open", group: query.get("group") ?? "", sort: query.get("sort") ?? "" };
  const keep = () => remember("dead-letters", { ...asked, state: asked.state === "open" ? "" : asked.state });
  const reasons = table("Open dead letters by reason", GROUPS);
  const choose = (given) => {
    Object.assign(asked, given);
    keep();
    reading.now();
  };
  const { grid, body, note } = table("Dead letters", COLUMNS, { asked, ask: choose });
  const lead = h("span", { class: "quiet" });
  const bar = h("progress", { max: "1", value: 0, "aria-label": "How much has been done" });
  const told = h("p", { role: "status" });
  const stopButton = h("button", { type: "button" }, "Stop");
  const running = h("div", { class: "note", hidden: true }, told, bar, h("div", { class: "actions start" }, stopButton));

  const run = (action, group, more) => {
    const words = action === "replay" ? "replayed" : "discarded";
    let last = { done: 0, total: 0, refused: 0 };
    const finish = (sentence) => {
      stopButton.hidden = true;
      bar.hidden = true;
      text(told, sentence);
      reading.now();
    };
    const show = (progress) => {
      last = progress;
      bar.max = Math.max(progress.total, 1);
      bar.value = progress.done;
      text(told, `${count(progress.done)} of ${count(progress.total)} ${words} …`);
    };
    [running.hidden, stopButton.hidden, bar.hidden] = [false, false, false];
    show(last);
    const stop = lines("dead-letters/run", {
      body: { action, group: group.group, ...more },
      tell: (line) => {
        if (line.progress) show(line.progress);
        else if (line.end) finish(`${plural(line.end.done, "letter")} of ${count(line.end.total)} ${words}.${line.end.refused ? ` ${count(line.end.refused)} were decided by somebody else meanwhile.` : ""}`);
        else finish(`Stopped after ${count(last.done)} of ${count(last.total)}: ${line.error}`);
      },
      isOver: (line) => Boolean(line.end || line.error),
      fail: (error) => finish(`Stopped after ${count(last.done)} of ${count(last.total)}: ${error.message}`),
    });
    stopButton.onclick = () => {
      stop();
      finish(`Stopped: at least ${count(last.done)} of ${count(last.total)} were ${words}. The same again does the rest; nothing is done twice.`);
    };
  };
  const ask = async (action, group) => {
    try {
      const plan = await post("dead-letters/plan", { action, group: group.group });
      if (!plan.chosen) {
        toast("Nothing is open in this group any more.");
        return;
      }
      const isDiscard = action === "discard";
      const fields = isDiscard ? [h("label", { for: "note" }, "Note for the others"), h("textarea", { id: "note", name: "note", rows: "3", maxlength: "500", required: true })] : [];
      const name = isDiscard ? "Discard" : "Replay";
      const more = await confirm({ title: `${name} ${plural(plan.chosen, "dead letter")}?`, lines: planned(action, plan, group), fields, action: name, danger: isDiscard });
      if (more !== null) run(action, group, more);
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const reason = (group) => {
    const button = (action, name) => h("button", { type: "button", class: "small", on: { click: () => ask(action, group) } }, name, h("span", { class: "unseen" }, ` the letters with: ${group.message}`));
    return h(
      "tr",
      null,
      h("td", { class: "reason" }, h("a", { href: `#/dead-letters?group=${group.group}`, on: { click: (event) => { event.preventDefault(); choose({ group: group.group }); } } }, group.message || group.class || "No reason given")),
      h("td", { class: "wide" }, h("code", null, from(group))),
      h("td", { class: "right" }),
      h("td", { class: "wide" }),
      h("td"),
      h("td", { class: "right" }, group.replayable ? button("replay", "Replay …") : null, button("discard", "Discard …")),
    );
  };
  const updateReason = (element, group) => {
    text(element.children[2], count(group.open));
    element.children[3].replaceChildren(time(group.first));
    element.children[4].replaceChildren(time(group.last));
  };
  const everyReason = h("button", { type: "button", hidden: true, on: { click: () => choose({ group: "" }) } }, "All reasons");
  const more = paging(() => reading.now());
  const empty = (data) => {
    if (!data.live) return "Reading …";
    return data.states.all ? `None is ${asked.state}.` : "None. Whatever cannot be read or validated would be here, with its reason.";
  };
  const reading = refreshing(() => get("dead-letters", { ...asked, limit: more.limit() }), (data) => {
    keyed(body, data.letters, key, row, update);
    note(data.letters.length, empty(data));
    more.show(data.total, data.letters.length);
    const open = data.groups.filter((group) => group.open);
    keyed(reasons.body, open, (group) => group.group, reason, updateReason);
    reasons.grid.hidden = open.length === 0;
    everyReason.hidden = !asked.group;
    filters.update({ open: 0, replayed: 0, discarded: 0, ...data.states });
    text(lead, data.total > data.letters.length ? `${asked.sort ? "The first" : "The latest"} ${data.letters.length} of ${count(data.total)}.` : "");
  });
  const filters = choices("State", [["open", "Open"], ["replayed", "Replayed"], ["discarded", "Discarded"], ["all", "All"]], asked.state, (value) => choose({ state: value }));
  const element = layout(
    { title: "Dead letters", lead: "Records that could not be read or validated. Their content is shown when you ask for it; replaying writes them to their topic again." },
    running,
    reasons.grid,
    h("div", { class: "filters" }, filters.element, everyReason, lead),
    reading.problem,
    grid,
    more.element,
  );
  reading.now();
  return { title: "Dead letters", element, tick: reading.tick };
}
