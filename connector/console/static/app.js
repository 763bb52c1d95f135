// The frame: which page is shown, what the connector tells every second, and what stands around the pages.

import { get, leave, stream } from "./api.js";
import { h, text } from "./dom.js";
import { moment, plural, setUtc, showsUtc } from "./format.js";
import * as overview from "./pages/overview.js";
import * as watches from "./pages/watches.js";
import * as commands from "./pages/commands.js";
import * as story from "./pages/story.js";
import * as callbacks from "./pages/callbacks.js";
import * as callback from "./pages/callback.js";
import * as events from "./pages/events.js";
import * as health from "./pages/health.js";
import * as letters from "./pages/letters.js";
import * as letter from "./pages/letter.js";
import * as send from "./pages/send.js";
import * as settings from "./pages/settings.js";
import * as search from "./pages/search.js";
import { target } from "./search.js";

const PAGES = [
  { path: "", name: "Overview", page: overview },
  { path: "watches", name: "Watches", page: watches },
  { path: "commands", name: "Commands", page: commands, detail: story },
  { path: "events", name: "Events", page: events },
  { path: "callbacks", name: "Callbacks", page: callbacks, detail: callback },
  { path: "dead-letters", name: "Dead letters", page: letters, detail: letter },
  { path: "health", name: "Health", page: health },
  { path: "send", name: "Send", page: send },
  { path: "settings", name: "Settings", page: settings },
  { path: "search", page: search },
];

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const state = { page: null, tick: null, connected: null, paused: false, lostAt: null };
const badges = new Map();

function open() {
  const [address, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [path, ...rest] = address.split("/");
  const found = PAGES.find((candidate) => candidate.path === path) ?? PAGES[0];
  const argument = decoded(rest.join("/"));
  const page = argument && found.detail ? found.detail : found.page;
  state.page?.close?.();
  state.page = page.open({ argument, query: new URLSearchParams(search) });
  const isFirst = main.dataset.opened !== "yes";
  main.dataset.opened = "yes";
  main.replaceChildren(state.page.element);
  document.title = `${state.page.title} · Twilio–Kafka console`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.path === found.path) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ inline: "nearest", block: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  if (!isFirst) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  if (history.state?.scroll) restoreScroll(history.state.scroll);
  if (state.tick) state.page.tick?.(state.tick);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Go back to where a page was left: as soon as it is long enough again, and not against the reader. */
function restoreScroll(top) {
  const began = Date.now();
  const attempt = () => {
    if (Date.now() - began > 3000 || state.isMoved) return;
    if (document.documentElement.scrollHeight - window.innerHeight >= top) window.scrollTo(0, top);
    else requestAnimationFrame(attempt);
  };
  state.isMoved = false;
  attempt();
}

function onTick(tick) {
  state.tick = tick;
  state.lostAt = tick.problems.length ? (tick.problem_since ?? state.lostAt ?? tick.now) : null;
  badge("dead-letters", tick.open_letters, "bad", (number) => plural(number, "open dead letter"));
  badge("commands", tick.states["in doubt"] ?? 0, "warn", (number) => `${plural(number, "command")} in doubt`);
  showBanner();
  if (!state.paused) state.page?.tick?.(tick);
}

function onState(connected) {
  if (state.connected === true && !connected) state.silentSince = state.tick?.now;
  state.connected = connected;
  showBanner();
}

function showBanner() {
  let sentence = "";
  if (state.connected === false) sentence = `This connector does not answer.${state.silentSince ? ` It last did at ${moment(state.silentSince)}.` : ""} What you see is as it was; trying again …`;
  else if (state.tick?.problems.length) {
    sentence = `Since ${moment(state.lostAt)}: ${state.tick.problems.join(" ")} What you see is as it was.`;
  }
  banner.hidden = sentence === "";
  text(banner, sentence);
}

function badge(path, number, kind, words) {
  const shown = badges.get(path);
  shown.hidden = number === 0;
  shown.className = `badge ${kind}`;
  text(shown.firstElementChild, number > 99 ? "99+" : number);
  text(shown.lastElementChild, number ? words(number) : "");
}

function frame() {
  const links = PAGES.filter(({ name }) => name).map(({ path, name }) => {
    const shown = h("span", { class: "badge", hidden: true }, h("span", { "aria-hidden": "true" }), h("span", { class: "unseen" }));
    badges.set(path, shown);
    return h("li", null, h("a", { href: `#/${path}`, "data-path": path }, h("span", null, name), shown));
  });
  document.getElementById("nav").append(...links);
  const pause = h(
    "button",
    { type: "button", class: "plain small", "aria-pressed": "false", on: { click: () => setPaused(pause, !state.paused) } },
    "Pause updates",
  );
  const zone = h(
    "button",
    { type: "button", class: "plain small", "aria-pressed": String(showsUtc()), on: { click: () => switchZone(zone) } },
    "Times in UTC",
  );
  document.getElementById("foot").append(pause, zone);
  const field = document.getElementById("find");
  document.getElementById("finder").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    location.hash = target(field.value);
    field.value = "";
  });
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, dialog, [contenteditable]");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
  get("overview").then(({ needs_token: needsToken, version }) => {
    const out = h("button", { type: "button", class: "plain small", on: { click: () => leave().then(() => location.reload()) } }, "Sign out");
    document.getElementById("foot").append(...(needsToken ? [out] : []), h("p", { class: "quiet version" }, `Version ${version}`));
  }, () => {});
}

function setPaused(button, paused) {
  state.paused = paused;
  button.setAttribute("aria-pressed", String(paused));
  text(button, paused ? "Resume updates" : "Pause updates");
  if (!paused && state.tick) state.page?.tick?.(state.tick);
}

function switchZone(button) {
  setUtc(!showsUtc());
  button.setAttribute("aria-pressed", String(showsUtc()));
  open();
}

history.scrollRestoration = "manual";
addEventListener("wheel", () => { state.isMoved = true; }, { passive: true });
addEventListener("scrollend", () => history.replaceState({ scroll: window.scrollY }, ""));
frame();
addEventListener("hashchange", open);
open();
stream({ onTick, onState });
