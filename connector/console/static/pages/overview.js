// Overview: the flow Twilio → topics → Twilio with live rates, and what needs somebody.

import { get } from "../api.js";
import { h, keyed, text } from "../dom.js";
import { count, duration, identifier, pill, plural, rate, time, tone } from "../format.js";
import { layout, refreshing } from "../page.js";
import { timelineLink } from "../search.js";
import { sparkline } from "../plots.js";

const LANES = [
  { flow: "watched", name: "Watched records", hint: "polled lists → events", to: "kafka", href: "#/watches" },
  { flow: "callbacks", name: "Callbacks", hint: "Twilio’s webhooks → events", to: "kafka", href: "#/callbacks" },
  { flow: "commands", name: "Commands", hint: "topics → Twilio’s API", to: "twilio", href: "#/commands" },
  { flow: "results", name: "Results", hint: "Twilio’s answers → topics", to: "kafka", href: "#/commands" },
];

function lane({ flow, name, hint, to, href }) {
  const { plot, update } = sparkline(name);
  const number = h("span", { class: "rate" }, "0");
  const element = h(
    "a",
    { class: `lane to-${to}`, href },
    h("span", { class: "lane-name" }, h("strong", null, name), h("span", { class: "quiet" }, hint)),
    plot,
    h("span", { class: "lane-rate" }, number, h("span", { class: "quiet" }, " per second")),
    h("span", { class: "arrow", "aria-hidden": "true" }),
  );
  const show = (rates) => {
    update(rates[flow].bars);
    text(number, rate(rates[flow].per_second));
    element.classList.toggle("flows", rates[flow].per_second > 0);
  };
  return { element, show };
}

function tile(name, href) {
  const number = h("span", { class: "figure" }, "0");
  const detail = h("span", { class: "quiet" });
  const element = h("a", { class: "tile", href }, h("span", { class: "tile-name" }, name), number, detail);
  const show = (value, words, kind = "none") => {
    text(number, value);
    text(detail, words);
    element.className = `tile ${kind}`;
  };
  return { element, show };
}

export function open() {
  const lanes = LANES.map(lane);
  const kafka = h("p", { class: "quiet wrap" });
  const account = h("p", { class: "quiet wrap" });
  const flow = h(
    "section",
    { class: "flow", "aria-label": "The flow between Twilio and Kafka" },
    h("div", { class: "node" }, h("h2", null, "Twilio"), account),
    h("div", { class: "lanes" }, lanes.map(({ element }) => element)),
    h("div", { class: "node" }, h("h2", null, "Kafka"), kafka),
  );
  const tiles = {
    watches: tile("Watches", "#/watches"),
    open: tile("Commands under way", "#/commands?state=open"),
    trouble: tile("Commands in trouble", "#/commands?state=trouble"),
    letters: tile("Open dead letters", "#/dead-letters"),
  };
  const watchList = h("ul", { class: "rows" });
  const activity = h("ol", { class: "rows log" });
  const quiet = h("p", { class: "quiet", hidden: true }, "Nothing in the last five minutes.");
  const reading = refreshing(() => get("overview"), (data) => show(data));

  const show = (data) => {
    keyed(kafka, [...data.kafka.split(","), `topics ${data.prefix}.*`], (line) => line, (line) => h("span", { class: "block" }, line), () => {});
    const named = data.connections.flatMap(({ name, account: sid }) => [`connection ${name}`, `${sid.slice(0, 6)}…${sid.slice(-4)}`]);
    keyed(account, named, (line) => line, (line) => h("span", { class: "block" }, line), () => {});
    showWatches(data.watches);
  };

  const showWatches = (watches) => {
    const running = watches.filter((watch) => watch.state === "watching").length;
    const rest = watches.filter((watch) => ["paused", "failing", "silent", "unreadable", "interrupted"].includes(watch.state));
    const words = rest.length ? rest.map((watch) => `${watch.title ?? watch.name} ${watch.state}`).join(", ") : "all well";
    tiles.watches.show(`${running} of ${watches.filter((watch) => !watch.title).length}`, words, rest.length ? "warn" : "good");
    keyed(watchList, watches, (watch) => watch.name, () => h("li", null, h("a", { href: "#/watches" }, h("span", { class: "grow" }), h("span", { class: "slot" }), h("span", { class: "quiet lag" }))), (row, watch) => {
      const [name, state, lag] = row.firstElementChild.children;
      text(name, watch.title ?? watch.name);
      if (state.textContent !== watch.state) state.replaceChildren(pill(watch.state));
      text(lag, watch.lag_seconds === null ? "" : watch.lag_seconds <= 0 ? "up to date" : `behind ${duration(watch.lag_seconds)}`);
    });
  };

  const showStates = (tick) => {
    const of = (...states) => states.reduce((sum, state) => sum + (tick.states[state] ?? 0), 0);
    const under = of("waiting", "in flight");
    tiles.open.show(count(under), `${plural(of("succeeded"), "has", "have")} succeeded lately`, under ? "busy" : "none");
    const doubt = of("in doubt", "unknown");
    const failed = of("failed", "rejected", "expired");
    tiles.trouble.show(count(doubt + failed), `${doubt} in doubt, ${failed} refused`, doubt ? "bad" : failed ? "warn" : "good");
    tiles.letters.show(count(tick.open_letters), tick.open_letters ? "wait for somebody" : "nothing to do", tick.open_letters ? "bad" : "good");
  };

  const showActivity = (lines, live) => {
    quiet.hidden = lines.length > 0 || !live;
    keyed(activity, lines, (line) => `${line.position.topic}/${line.position.partition}/${line.position.offset}`, (line) =>
      h(
        "li",
        null,
        h(
          "a",
          { href: timelineLink(line.timeline, line.at) },
          h("span", { class: "quiet when" }, time(line.at)),
          h("span", { class: `mark ${line.kind === "dead letter" ? "bad" : tone(line.state)}`, "aria-hidden": "true" }),
          h("span", { class: "what" }, line.kind === "event" ? line.name : `${line.kind} ${line.name}`),
          h("span", { class: `word ${tone(line.state)}` }, line.kind === "dead letter" ? "" : line.state),
          h("span", { class: "quiet ends" }, ["event", "dead letter"].includes(line.kind) ? line.detail : ""),
          h("span", { class: "quiet id" }, identifier(line.timeline)),
        ),
      ), () => {});
  };

  const element = layout(
    { title: "Overview", lead: "What passes between Twilio and Kafka now, seen by this process for all of them." },
    reading.problem,
    flow,
    h("section", { class: "tiles", "aria-label": "What needs somebody" }, Object.values(tiles).map((entry) => entry.element)),
    h(
      "div",
      { class: "columns" },
      h("section", { class: "card", "aria-labelledby": "recent" }, h("h2", { id: "recent" }, "Recently"), quiet, activity),
      h("section", { class: "card", "aria-labelledby": "watching" }, h("h2", { id: "watching" }, "Watches"), watchList),
    ),
  );
  reading.now();
  return {
    title: "Overview",
    element,
    tick: (tick) => {
      lanes.forEach((entry) => entry.show(tick.rates));
      showStates(tick);
      showActivity(tick.activity, tick.live);
      reading.tick(tick);
    },
  };
}
