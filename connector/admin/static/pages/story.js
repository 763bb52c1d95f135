// One command's whole story: parameters, attempts, result, status events, the watched record.

import { get } from "../api.js";
import { h, keyed, text } from "../dom.js";
import { duration, elapsed, identifier, json, pill, plural, time, tone } from "../format.js";
import { facts, layout, refreshing } from "../page.js";
import { timeline } from "../plots.js";

const WORDS = {
  command: (step) => `Command ${step.name} was written`,
  attempt: () => "Noted in the journal, then sent to Twilio",
  result: () => "Result",
  "dead letter": (step) => `Dead letter (${step.state})`,
  event: (step) => `Event on ${step.name}`,
};
const NOTES = {
  "in doubt": "It was sent, and no answer is known yet. Twilio is asked what became of it before anything else happens.",
  unknown: "It was sent, its answer was lost, and Twilio does not show what it made. Do not assume either way.",
  waiting: "No connector has taken it up yet.",
};

const told = (step) => (WORDS[step.kind] ?? ((other) => other.kind))(step);

function item(began) {
  return (step) => {
    const place = `${step.place.topic}, partition ${step.place.partition}, offset ${step.place.offset}`;
    const headers = Object.entries(step.shown?.headers ?? {}).map(([name, value]) => [name, h("code", null, value)]);
    const after = elapsed(began, step.at);
    const hasPill = step.state && step.kind !== "attempt" && step.kind !== "dead letter";
    return h(
      "li",
      { class: `step ${step.kind === "attempt" ? "busy" : tone(step.state)}` },
      h(
        "details",
        null,
        h(
          "summary",
          { class: "step-head" },
          h("strong", null, told(step)),
          hasPill ? pill(step.state) : null,
          h("span", { class: "quiet" }, step.detail),
          h("span", { class: "quiet after" }, after > 0 ? `+${duration(after)}` : time(step.at)),
        ),
        h("p", { class: "quiet place" }, place),
        headers.length ? facts(headers) : null,
        step.shown ? json(step.shown.value) : null,
      ),
    );
  };
}

export function open({ argument }) {
  const about = h("div");
  const strip = h("div", { class: "card" });
  const steps = h("ol", { class: "steps" });
  const note = h("p", { class: "note", hidden: true });
  const heading = h("span");
  let shown = "-";
  const opened = Date.now();
  const reading = refreshing(() => get(`stories/${encodeURIComponent(argument)}`, { known: shown }), (story) => {
    if (story.same) return;
    if (story.missing) {
      note.hidden = false;
      text(note, Date.now() - opened < 10_000 ? "Waiting for it to appear …" : story.error);
      return;
    }
    shown = `${story.steps}/${story.state}`;
    text(heading, story.command || "A record");
    about.replaceChildren(facts([
      ["State", story.state ? pill(story.state) : null],
      ["Id", h("code", { class: "wrap" }, story.id)],
      ["Twilio’s SID", story.sid ? h("code", { class: "wrap" }, story.sid) : null],
      ["Began", time(story.began)],
      ["Took", duration(elapsed(story.began, story.updated))],
      ["Attempts", story.attempts ? String(story.attempts) : null],
    ]));
    note.hidden = !NOTES[story.state];
    text(note, NOTES[story.state] ?? "");
    strip.replaceChildren(timeline(story.timeline, { tone: (step) => tone(step.state), label: (step) => `${told(step)} ${step.state}` }));
    keyed(steps, story.timeline, (step) => `${step.place.topic}/${step.place.partition}/${step.place.offset}/${step.shown !== null}`, item(story.began), () => {});
    if (story.dropped) {
      note.hidden = false;
      text(note, `${plural(story.dropped, "record")} in between are left out.`);
    }
  });
  const element = layout({ title: heading, lead: "Open a record to see what it holds; texts and numbers in it are masked.", back: { href: "#/commands", name: "Commands" } }, reading.problem, note, about, strip, steps);
  reading.now();
  return { title: "One command", element, tick: reading.tick };
}
