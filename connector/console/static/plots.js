// Small plots: what people would rather look at than read. Each says its numbers to those who cannot see it.

import { svg } from "./dom.js";
import { count, duration } from "./format.js";

const WIDTH = 300;
const HEIGHT = 36;
const LANE = 14;

/** Counts over the last five minutes as an area. `update(bars)` redraws it. */
export function sparkline(label) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const title = svg("title", null);
  const plot = svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    title,
    area,
    line,
  );
  const update = (bars) => {
    const top = Math.max(...bars, 1);
    const step = WIDTH / (bars.length - 1);
    const points = bars.map((bar, index) => `${(index * step).toFixed(1)},${(HEIGHT - 1.5 - (bar / top) * (HEIGHT - 5)).toFixed(1)}`);
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M0,${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z`);
    const total = bars.reduce((sum, bar) => sum + bar, 0);
    const sentence = `${label}: ${count(total)} in the last five minutes, at most ${count(top === 1 && total === 0 ? 0 : top)} in five seconds`;
    if (title.textContent !== sentence) title.textContent = sentence;
  };
  return { plot, update };
}

/** The steps of a story along its time; each point is one record. */
export function timeline(steps, { tone, label }) {
  const times = steps.map((step) => new Date(step.at).getTime());
  const first = Math.min(...times);
  const span = Math.max(Math.max(...times) - first, 1);
  const place = (share) => `${(1 + share * 98).toFixed(2)}%`;
  // A point that would hide another one stands above it.
  const apart = 14 / Math.max(window.innerWidth - (window.innerWidth > 800 ? 300 : 80), 240);
  const ends = [];
  const lanes = times.map((at) => {
    const share = (at - first) / span;
    const free = ends.findIndex((end) => share - end >= apart);
    const lane = free < 0 ? ends.length : free;
    ends[lane] = share;
    return lane;
  });
  const base = 14 + (ends.length - 1) * LANE;
  const points = steps.map((step, index) =>
    svg("circle", { class: `dot ${tone(step)}`, cx: place((times[index] - first) / span), cy: base - lanes[index] * LANE, r: 6 }, svg("title", null, label(step))),
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    const at = share === 0 ? "0.2%" : share === 1 ? "99.8%" : place(share);
    return [
      svg("line", { class: "axis", x1: place(share), y1: base - 4, x2: place(share), y2: base + 4 }),
      svg("text", { class: "tick", x: at, y: base + 24, "text-anchor": anchor }, share === 0 ? "0" : duration((span * share) / 1000)),
    ];
  });
  return svg(
    "svg",
    { class: "strip", height: base + 30, role: "img", "aria-label": `${steps.length} records over ${duration(span / 1000)}` },
    svg("line", { class: "axis", x1: place(0), y1: base, x2: place(1), y2: base }),
    ticks.flat(),
    points,
  );
}
