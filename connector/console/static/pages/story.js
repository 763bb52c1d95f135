// One timeline: the command, its attempts, its result, status events, the watched record. What is not in memory is
// searched in the topics at once.

import { get } from "../api.js";
import { h, keyed, text, visible } from "../dom.js";
import { copies, count, duration, elapsed, json, pill, plural, time, tone, wholeMoment } from "../format.js";
import { facts, layout, refreshing } from "../page.js";
import { timeline } from "../plots.js";
import { search, timelineLink } from "../search.js";

const WORDS = {
  command: (entry) => `Command ${entry.name} was written`,
  attempt: () => "Noted in the journal, then sent to Twilio",
  result: () => "Result",
  "dead letter": (entry) => `Dead letter (${entry.state})`,
  event: (entry) => `Event on ${entry.name}`,
};
const NOTES = {
  "in doubt": "It was sent, and no answer is known yet. Twilio is asked what became of it before anything else happens.",
  unknown: "It was sent, its answer was lost, and Twilio does not show what it made. Do not assume either way.",
  waiting: "No connector has taken it up yet.",
};
// A command that has just been written is waited for before the topics are searched.
const PATIENCE_MS = 10_000;
const EVERYTHING = "1970-01-01T00:00:00Z";

const told = (entry) => (WORDS[entry.kind] ?? ((other) => other.kind))(entry);
/** A correlation id; what belongs to it is searched, unless a part of it is masked. */
const correlated = (id) => (id.includes("…") ? h("code", { class: "wrap" }, id) : h("a", { class: "wrap", href: `#/search?${new URLSearchParams({ text: id })}` }, id));
const address = ({ position }) => `${position.topic}/${position.partition}/${position.offset}`;

function item(began) {
  return (entry) => {
    const headers = Object.entries(entry.shown?.headers ?? {}).map(([name, value]) => [name, h("code", null, value)]);
    const after = elapsed(began, entry.at);
    const hasPill = entry.state && entry.kind !== "attempt" && entry.kind !== "dead letter";
    const letter = `${entry.position.partition}/${entry.position.offset}`;
    return h(
      "li",
      { class: `step ${entry.kind === "attempt" ? "busy" : tone(entry.state)}` },
      h(
        "details",
        null,
        h(
          "summary",
          { class: "step-head" },
          h("strong", null, told(entry)),
          hasPill ? pill(entry.state) : null,
          h("span", { class: "quiet" }, entry.detail),
          h("span", { class: "quiet after" }, after > 0 ? `+${duration(after)}` : time(entry.at)),
        ),
        h("p", { class: "quiet place" }, address(entry), " · ", time(entry.at)),
        entry.kind === "dead letter" ? h("p", null, h("a", { href: `#/dead-letters/${letter}` }, `Open dead letter ${letter}`)) : null,
        entry.callback ? h("p", null, h("a", { href: `#/callbacks/${address(entry)}` }, `Open callback ${address(entry)}`)) : null,
        headers.length ? facts(headers) : null,
        entry.shown ? json(entry.shown.value) : entry.kind === "attempt" ? null : h("p", { class: "quiet" }, "The topic does not keep this record any more."),
      ),
    );
  };
}

export function open({ argument, query }) {
  const at = query.get("at");
  const about = h("div");
  const strip = h("div", { class: "card", hidden: true });
  const steps = h("ol", { class: "steps" });
  const note = h("p", { class: "note", role: "status", hidden: true });
  const heading = h("span", null, "A timeline");
  const searching = h("p", { class: "quiet", role: "status" });
  const again = h("button", { type: "button", hidden: true, on: { click: () => begin({ since: EVERYTHING }) } }, "Search everything");
  const stopButton = h("button", { type: "button", hidden: true, on: { click: () => finish("Search stopped.") } }, "Stop");
  const opened = Date.now();
  let name = argument;
  let shown = "-";
  let stop = null;
  let isSearched = false;
  let found = 0;
  let last = null;

  const say = (sentence) => {
    note.hidden = sentence === "";
    text(note, sentence);
  };
  const finish = (sentence) => {
    stop?.();
    stop = null;
    stopButton.hidden = true;
    text(searching, sentence);
    if (shown === "-" && !found) {
      const since = last?.since ? ` written since ${wholeMoment(last.since)}` : "";
      say(`${argument} was not found: not in memory, and not among the ${count(last?.done ?? 0)} of ${count(last?.total ?? 0)} records${since} that were read.`);
      again.hidden = last?.since === null;
    }
    reading.now();
  };
  const begin = (more) => {
    isSearched = true;
    found = 0;
    again.hidden = true;
    stopButton.hidden = false;
    say("");
    text(searching, "Searching the topics …");
    stop = search({ text: argument, timeline: "yes", at, ...more }, {
      onFound: () => { found += 1; },
      onProgress: (told) => {
        last = told;
        text(searching, `Searching ${told.words} for ${argument}: ${count(told.done)} of ${count(told.total)} records, ${plural(found, "record")} found …`);
      },
      onEnd: (end) => {
        name = end.timeline ?? name;
        finish(end.is_cut ? "There is more than can be shown here." : "");
      },
      onProblem: (error) => {
        finish(`Not searched to the end: ${error.message}`);
        again.hidden = false;
      },
    });
  };

  const show = (story) => {
    if (story.missing) {
      if (!isSearched && query.get("sent") && Date.now() - opened < PATIENCE_MS) say("Written. Waiting for it to appear …");
      else if (!isSearched && story.live) begin({});
      return;
    }
    if (!story.same) draw(story);
    if (!isSearched && !isWhole) begin({});
  };
  let isWhole = false;

  const draw = (story) => {
    isWhole = story.whole;
    shown = `${story.records}/${story.state}/${story.whole ? "True" : "False"}`;
    text(heading, story.command || "Without a command");
    const link = new URL(timelineLink(story.link, story.began), location.href).href;
    const tail = `twilio-kafka tail --no-follow --since ${new Date(new Date(story.began) - 60_000).toISOString()} --where command='${story.link}'`;
    about.replaceChildren(
      facts([
        ["State", story.state ? pill(story.state) : null],
        ["Id", h("code", { class: "wrap" }, story.id)],
        ["Twilio’s SID", story.sid ? h("code", { class: "wrap" }, story.sid) : null],
        ["Correlation id", story.correlation && story.correlation !== story.id ? correlated(story.correlation) : null],
        ["Ends", story.ends],
        ["Connection", story.connection],
        ["Began", time(story.began)],
        ["Result after", story.answered_at ? duration(elapsed(story.began, story.answered_at)) : null],
        ["Final at Twilio after", story.settled_at ? duration(elapsed(story.began, story.settled_at)) : null],
        ["Attempts", story.attempts ? String(story.attempts) : null],
      ]),
      copies([["id", story.link], ["link", link], ["tail command", tail]]),
    );
    say(story.dropped ? `${plural(story.dropped, "record")} in between are left out.` : (NOTES[story.state] ?? ""));
    strip.hidden = false;
    strip.replaceChildren(timeline(story.entries, { tone: (entry) => tone(entry.state), label: (entry) => `${told(entry)} ${entry.state}` }));
    keyed(steps, story.entries, (entry) => `${address(entry)}/${entry.shown !== null}`, item(story.began), () => {});
  };

  const reading = refreshing(() => get(`timelines/${encodeURIComponent(name)}`, { known: shown }), show, { every: true });
  const element = layout(
    { title: heading, lead: "Open a record to see what it holds; texts and numbers in it are masked.", back: { href: "#/commands", name: "Commands" } },
    reading.problem,
    note,
    h("div", { class: "actions start searching" }, searching, stopButton, again),
    about,
    strip,
    steps,
  );
  reading.now();
  return { title: visible(argument), element, tick: reading.tick, close: () => stop?.() };
}
