// One dead letter: reason, content on request, edit and replay, discard with a note.

import { get, post } from "../api.js";
import { confirm, h, text, toast } from "../dom.js";
import { count, pill, time } from "../format.js";
import { facts, layout } from "../page.js";

const NOT_REPLAYABLE = {
  watch: "It came from one of Twilio’s lists: update the connector, then rewind the watch that found it.",
  callback: "Twilio delivered it, signed: update the connector; the list of its resource has the same facts.",
};

const pretty = (value) => {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
};

export function open({ argument }) {
  const body = h("div", { class: "stack" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const fail = (error) => {
    problem.hidden = false;
    text(problem, error.message);
  };

  const load = async (content) => {
    try {
      show(await get(`dead-letters/${argument}`, content ? { content: "yes" } : {}));
    } catch (error) {
      fail(error);
    }
  };

  const replay = async (letter, editor) => {
    const isEdited = editor !== null && editor.value !== pretty(letter.value);
    const decided = letter.verdict ? [`It was ${letter.verdict.decision} already: it is replayed once more.`] : [];
    const asked = await confirm({
      title: isEdited ? "Replay the edited record?" : "Replay it as it is?",
      lines: [...decided, `It is written to ${letter.topic} with its key and headers, and counted as a replay. A connector executes it.`],
      action: "Replay",
    });
    if (asked === null) return;
    try {
      const answer = await post(`dead-letters/${argument}/replay`, { ...(isEdited ? { value: editor.value } : {}), again: letter.verdict !== null });
      toast(answer.message);
      location.hash = `#/commands/${encodeURIComponent(answer.story)}`;
    } catch (error) {
      fail(error);
    }
  };

  const discard = async () => {
    const asked = await confirm({
      title: "Discard it?",
      lines: ["It counts as dealt with, for everybody. The record itself stays in its topic."],
      fields: [h("label", { for: "note" }, "Note for the others"), h("textarea", { id: "note", name: "note", rows: "3", maxlength: "500", required: true })],
      action: "Discard",
      danger: true,
    });
    if (asked === null) return;
    try {
      const answer = await post(`dead-letters/${argument}/discard`, asked);
      toast(answer.message);
      location.hash = "#/dead-letters";
    } catch (error) {
      fail(error);
    }
  };

  const contents = (letter) => {
    if (letter.value === undefined) {
      return [h("button", { type: "button", on: { click: () => load(true) } }, `Show content (${count(letter.size)} bytes)`)];
    }
    const isText = letter.encoding === "text";
    const editor = isText ? h("textarea", { id: "content", class: "code", rows: "12", spellcheck: "false", value: pretty(letter.value), disabled: !letter.replayable }) : null;
    return [
      facts([["Key", letter.key ? h("code", { class: "wrap" }, letter.key) : null], ...letter.headers.map(([name, value]) => [name, h("code", { class: "wrap" }, value)])]),
      isText
        ? h("div", null, h("label", { for: "content" }, "Content"), editor)
        : h("div", null, h("p", { class: "label" }, "In base64: it is no text"), h("pre", { class: "line" }, letter.value)),
      letter.replayable ? h("div", { class: "actions start" }, h("button", { type: "button", class: "primary", on: { click: () => replay(letter, editor) } }, "Replay …")) : null,
    ];
  };

  const show = (letter) => {
    problem.hidden = true;
    const verdict = letter.verdict;
    const decided = verdict ? h("p", { class: "note" }, h("strong", null, verdict.decision), ` by ${verdict.by || "somebody"}, `, time(verdict.at), verdict.note ? `: ${verdict.note}` : "") : null;
    body.replaceChildren(
      h("p", { class: "note bad" }, letter.message || "No reason was given."),
      ...(decided ? [decided] : []),
      facts([
        ["State", pill(verdict?.decision ?? "open")],
        ["Class", letter.class],
        ["Stage", letter.stage],
        ["From", letter.topic ? h("code", { class: "wrap" }, `${letter.topic}, partition ${letter.origin.partition}, offset ${letter.origin.offset}`) : letter.stage === "callback" ? "Twilio’s callback" : "Twilio’s list"],
        ["At", time(letter.at)],
        ["Replays so far", String(letter.replays)],
        ...Object.entries(letter.twilio).map(([name, value]) => [name, h("code", null, value)]),
      ]),
      ...(letter.replayable ? [] : [h("p", { class: "quiet" }, NOT_REPLAYABLE[letter.stage] ?? "Only what came from a command topic can be replayed.")]),
      h("h2", null, "Content"),
      h("div", { class: "stack" }, contents(letter)),
      h("h2", null, "Nothing to be done?"),
      h("div", { class: "actions start" }, h("button", { type: "button", class: "danger", on: { click: discard } }, "Discard …")),
    );
  };

  const element = layout({ title: `Dead letter ${argument}`, back: { href: "#/dead-letters", name: "Dead letters" } }, problem, body);
  load(false);
  return { title: "A dead letter", element };
}
