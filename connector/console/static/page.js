// What the pages have in common: their heading, data that is asked for again when something has happened, empty tables.

import { h, text } from "./dom.js";

/** A page with a heading and whatever follows; `aside` stands beside the heading. */
export function layout({ title, lead, back, aside }, ...content) {
  const crumb = back ? h("p", { class: "crumb" }, h("a", { href: back.href }, `← ${back.name}`)) : null;
  const head = h("div", { class: "head" }, h("div", null, h("h1", null, title), lead ? h("p", { class: "lead" }, lead) : null), aside);
  return h("div", { class: "page" }, crumb, head, ...content);
}

/** Ask for data now and whenever the connector's version has moved on, one request at a time. */
export function refreshing(load, show, { every = false } = {}) {
  let seen = null;
  let running = false;
  let isWanted = false;
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const run = async (version) => {
    if (running) return;
    running = true;
    try {
      show(await load());
      seen = version;
      problem.hidden = true;
    } catch (error) {
      problem.hidden = false;
      text(problem, error.message);
    } finally {
      running = false;
      if (isWanted) now();
    }
  };
  // What is asked for while a request is under way is asked for after it: no key stroke is lost.
  const now = () => {
    isWanted = running;
    run(seen);
  };
  return {
    problem,
    now,
    tick: (tick) => {
      const version = `${tick.version}/${tick.live}`;
      if (every || version !== seen) run(version);
    },
  };
}

/** Write a page's filters into its address, so that they survive Back and can be handed on. */
export function remember(path, values) {
  const given = Object.entries(values).filter(([, value]) => value);
  const search = new URLSearchParams(given).toString();
  history.replaceState(history.state, "", `#/${path}${search ? `?${search}` : ""}`);
}

/** A table whose rows are kept while they are the same. `columns`: names; a row is made by `create` and `update`.
 * With `sorting` a column that has a `sort` is a button: `asked.sort` is that name, with - for the highest first. */
export function table(caption, columns, sorting) {
  const names = columns.map((column) => (typeof column.name === "object" ? "" : (column.name ?? column)));
  const body = h("tbody", { role: "rowgroup" });
  // On a narrow screen a row is a card: each cell says its column, and the roles stay what they were.
  const label = (row) => {
    row.setAttribute("role", "row");
    [...row.children].forEach((cell, index) => {
      cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
      cell.dataset.label = names[index] ?? "";
    });
  };
  new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(label))).observe(body, { childList: true });
  const empty = h("p", { class: "empty", hidden: true });
  const head = columns.map((column) => {
    const isSorted = sorting && column.sort;
    const name = isSorted ? h("button", { type: "button", class: "sort", on: { click: () => turn(column.sort) } }, column.name) : (column.name ?? column);
    return h("th", { scope: "col", role: "columnheader", class: column.class }, name);
  });
  const mark = () => columns.forEach((column, index) => {
    if (!sorting || !column.sort) return;
    const order = { [column.sort]: "ascending", [`-${column.sort}`]: "descending" }[sorting.asked.sort] ?? "none";
    head[index].setAttribute("aria-sort", order);
  });
  const turn = (name) => {
    sorting.ask({ sort: { [name]: `-${name}`, [`-${name}`]: "" }[sorting.asked.sort] ?? name });
    mark();
  };
  mark();
  const grid = h(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { role: "table" }, h("caption", { class: "unseen" }, caption), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), body),
    empty,
  );
  const note = (rows, sentence) => {
    empty.hidden = rows > 0;
    grid.classList.toggle("is-empty", rows === 0);
    text(empty, sentence);
  };
  return { grid, body, note };
}

const STEP = 200;
/** A button that asks for more rows; `limit()` is how many, `show(total, shown)` whether there are more. */
export function paging(reload) {
  let limit = STEP;
  const button = h("button", { type: "button", hidden: true, on: { click: () => { limit += STEP; reload(); } } }, `Show ${STEP} more`);
  return {
    element: h("div", { class: "actions start" }, button),
    limit: () => limit,
    show: (total, shown) => { button.hidden = total <= shown || limit >= 3000; },
  };
}

/** Buttons of which one is chosen; `counts` may be given to `update`. */
export function choices(label, options, chosen, onChoose) {
  const buttons = options.map(([value, name]) => {
    const number = h("span", { class: "number" });
    const button = h("button", { type: "button", "aria-pressed": String(value === chosen), on: { click: () => choose(value) } }, name, number);
    return { value, button, number };
  });
  const choose = (value) => {
    for (const entry of buttons) entry.button.setAttribute("aria-pressed", String(entry.value === value));
    onChoose(value);
  };
  const update = (counts) => {
    for (const entry of buttons) text(entry.number, counts[entry.value] === undefined ? "" : ` ${counts[entry.value]}`);
  };
  return { element: h("div", { class: "choices", role: "group", "aria-label": label }, buttons.map((entry) => entry.button)), update };
}

/** Names and values side by side. */
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}
