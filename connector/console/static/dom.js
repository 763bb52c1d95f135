// Elements from data. Text is only ever set as text, and shows as itself: whatever a record holds stays harmless.

const SVG = "http://www.w3.org/2000/svg";

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\u{e0100}-\u{e01ef}]/gu;
const READ = ["title", "aria-label", "placeholder", "alt"];

function escaped(character) {
  const number = character.codePointAt(0);
  if (character === "\n" || character === "\t") return character;
  if (number <= 0xff) return `\\x${number.toString(16).padStart(2, "0")}`;
  return number <= 0xffff ? `\\u${number.toString(16).padStart(4, "0")}` : `\\U${number.toString(16).padStart(8, "0")}`;
}

/** Text whose reading order nobody can turn around and in which nothing is hidden, as on the command line. */
export const visible = (value) => String(value).replace(UNSEEN, escaped);

const shown = (child) => (child instanceof Node ? child : visible(child));

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === "class") element.setAttribute("class", value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (READ.includes(name)) element.setAttribute(name, visible(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map(shown));
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

/** Set an element's text without touching it when nothing changes: a screen reader or a selection stays where it is. */
export function text(element, value) {
  const wanted = visible(value ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** Make a parent's children match items: kept by key, moved only where the order differs. */
export function keyed(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    if (child === undefined) {
      child = create(item);
      child.dataset.key = name;
    }
    known.delete(name);
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

/** Ask before something is done. Resolves to the values of the form's fields, or to null. */
export function confirm({ title, lines = [], fields = [], action, danger = false }) {
  return new Promise((resolve) => {
    const close = (value) => {
      dialog.close();
      dialog.remove();
      opener?.focus();
      resolve(value);
    };
    const opener = document.activeElement;
    const form = h(
      "form",
      {
        on: {
          submit: (event) => {
            event.preventDefault();
            close(Object.fromEntries(new FormData(form)));
          },
        },
      },
      h("h2", { id: "dialog-title" }, title),
      lines.map((line) => h("p", null, line)),
      fields,
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "plain", on: { click: () => close(null) } }, "Cancel"),
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, action),
      ),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      close(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A sentence that goes away by itself. */
export function toast(sentence, kind = "good") {
  const shown = h("p", { class: `toast ${kind}` }, sentence);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 8000);
}
