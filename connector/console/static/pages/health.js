// Health: one hour of this process in steps of ten seconds, as lines with axis, unit and the values under the pointer.

import { get } from "../api.js";
import { h, svg, text } from "../dom.js";
import { count, duration, moment } from "../format.js";
import { layout, refreshing } from "../page.js";

const WIDTH = 600;
const HEIGHT = 150;
const BOX = { left: 58, right: 8, top: 10, bottom: 24 };
const perSecond = (value) => `${value < 10 ? value.toFixed(1) : count(Math.round(value))}/s`;
const whole = (value) => (value < 10 && value % 1 ? value.toFixed(1) : count(Math.round(value)));

const PLOTS = [
  { title: "Published events", unit: perSecond, lines: [["watched", "by watches"], ["callbacks", "callbacks"]] },
  { title: "Commands finished", unit: perSecond, lines: [["commands", "commands"]] },
  { title: "Time of a command", unit: duration, lines: [["command_p50", "half within"], ["command_p95", "95 % within"]] },
  { title: "Time of a callback", unit: duration, lines: [["callback_p50", "half within"], ["callback_p95", "95 % within"]] },
  { title: "Commands not finished", unit: whole, lines: [["lag", "in the topics"]] },
  { title: "Twilio’s limit", unit: whole, lines: [["limit", "requests at once, adaptive"], ["waiting", "waiting for their turn"]] },
  { title: "Answers 429", unit: perSecond, lines: [["throttled", "throttled"]] },
];

function top(values) {
  const most = Math.max(...values, 0);
  if (most === 0) return 1;
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= most);
}

/** A plot of lines; `update(data)` redraws it. */
function plot({ title, unit, lines: names }) {
  const drawing = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const caption = svg("title", null);
  const now = h("span", { class: "quiet" });
  const element = h("figure", { class: "card chart" }, h("figcaption", null, h("strong", null, title), now), drawing);
  let data = null;
  const x = (index, steps) => BOX.left + (index / (steps - 1)) * (WIDTH - BOX.left - BOX.right);

  const words = (index) => names.map(([name, label]) => {
    const value = data.series[name]?.[index];
    return `${label}: ${value === null || value === undefined ? "nothing measured" : unit(value)}`;
  }).join(" · ");
  const update = (given) => {
    data = given;
    const series = names.map(([name]) => data.series[name] ?? []);
    const steps = Math.max(...series.map((values) => values.length), 2);
    const most = top(series.flat().filter((value) => value !== null));
    const y = (value) => HEIGHT - BOX.bottom - (value / most) * (HEIGHT - BOX.top - BOX.bottom);
    const grid = [0, most / 2, most].map((value) => [
      svg("line", { class: "axis", x1: BOX.left, x2: WIDTH - BOX.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: BOX.left - 6, y: y(value) + 4, "text-anchor": "end" }, value === 0 ? "0" : unit(value)),
    ]);
    const clock = [0, 0.5, 1].map((share) => {
      const at = (data.end - (1 - share) * steps * data.step) * 1000;
      return svg("text", { class: "tick", x: x(share * (steps - 1), steps), y: HEIGHT - 6, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, moment(at).slice(0, -3).replace(/:$/, ""));
    });
    const paths = series.map((values, line) => {
      let isDown = false;
      const path = values.map((value, index) => {
        if (value === null) {
          isDown = false;
          return "";
        }
        const command = isDown ? "L" : "M";
        isDown = true;
        // A lone value is a point: a line of no length with a round end.
        return `${command}${x(index, steps).toFixed(1)},${y(value).toFixed(1)}${command === "M" ? "h0" : ""}`;
      }).join("");
      return svg("path", { class: `line line-${line}`, d: path });
    });
    const cursor = svg("line", { class: "cursor", y1: BOX.top, y2: HEIGHT - BOX.bottom, x1: -1, x2: -1 });
    drawing.replaceChildren(caption, ...grid.flat(), ...clock, ...paths, cursor);
    drawing.onpointermove = (event) => {
      const share = (event.offsetX / drawing.clientWidth) * WIDTH;
      const index = Math.round(((share - BOX.left) / (WIDTH - BOX.left - BOX.right)) * (steps - 1));
      if (index < 0 || index >= steps) return;
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(index, steps));
      text(now, `${moment((data.end - (steps - 1 - index) * data.step) * 1000)} · ${words(index)}`);
    };
    drawing.onpointerleave = () => {
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, -1);
      text(now, words(steps - 1));
    };
    if (cursor.parentNode && !drawing.matches(":hover")) text(now, words(steps - 1));
    text(caption, `${title}, the last hour. Now: ${words(steps - 1)}`);
  };
  const legend = names.length > 1 ? h("p", { class: "legend quiet" }, names.map(([, label], line) => h("span", { class: `key key-${line}` }, label))) : null;
  if (legend) element.append(legend);
  return { element, update };
}

export function open() {
  const plots = PLOTS.map(plot);
  const refused = h("ul", { class: "rows" });
  const none = h("p", { class: "quiet" });
  const reading = refreshing(() => get("health"), (data) => {
    const isEmpty = Object.keys(data.series).length === 0;
    text(none, isEmpty ? "This process has just started: the first step is over in ten seconds." : "");
    if (isEmpty) return;
    for (const entry of plots) entry.update(data);
    const codes = Object.entries(data.codes).map(([code, values]) => [code, values.reduce((sum, value) => sum + value, 0)]).sort((a, b) => b[1] - a[1]);
    refused.replaceChildren(...codes.map(([code, number]) => h("li", null, /^\d+$/.test(code) ? h("a", { href: `#/events?code=${code}` }, h("span", { class: "grow" }, `Error ${code}`), h("span", { class: "lag" }, count(number))) : h("span", { class: "plain-row" }, h("span", { class: "grow" }, code), h("span", { class: "lag" }, count(number))))));
    if (!codes.length) refused.replaceChildren(h("li", null, h("span", { class: "quiet" }, "Twilio has refused nothing in the last hour.")));
  });
  const element = layout(
    { title: "Health", lead: "The last hour of this process, in steps of ten seconds. It begins anew when the process starts." },
    reading.problem,
    none,
    h("div", { class: "charts" }, plots.map((entry) => entry.element)),
    h("section", { class: "card", "aria-labelledby": "refusals" }, h("h2", { id: "refusals" }, "Refused by Twilio in the last hour"), refused),
  );
  reading.now();
  let ticks = 0;
  return { title: "Health", element, tick: () => { if (++ticks % 10 === 0) reading.now(); } };
}
