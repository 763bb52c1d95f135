// One dead letter: reason, content on request, edit and replay, discard with a note.

import { get, post } from "../api.js";
import { confirm, h, text, toast, visible } from "../dom.js";
import { count, pill, time } from "../format.js";
import { blame } from "../form.js";
import { facts, layout } from "../page.js";
import { timelineLink } from "../search.js";

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

  const fault = h("p", { class: "fault", id: "content-fault", hidden: true });
  const replay = async (letter, editor, { asItIs = false } = {}) => {
    const isEdited = !asItIs && editor !== null && editor.value !== pretty(letter.value);
    if (letter.fails && !isEdited && !asItIs) {
      blame(editor, fault, `Edit it first: as it is it must fail again`);
      return;
    }
    try {
      const { mistakes } = isEdited ? await post(`dead-letters/${argument}/check`, { value: editor.value }) : { mistakes: [] };
      if (editor) blame(editor, fault, mistakes.map(({ sentence }) => sentence.replace(/\.$/, "")).join("; "));
      if (mistakes.length) {
        editor.focus();
        return;
      }
    } catch (error) {
      fail(error);
      return;
    }
    const decided = letter.verdict ? [`It was ${letter.verdict.decision} already: it is replayed once more.`] : [];
    const asked = await confirm({
      title: isEdited ? "Replay the edited record?" : "Replay it as it is?",
      lines: [...decided, ...(letter.fails && !isEdited ? [`It must fail again: ${letter.fails}`] : []), `It is written to ${letter.topic} with its key and headers, and counted as a replay. A connector executes it.`],
      action: "Replay",
    });
    if (asked === null) return;
    try {
      const answer = await post(`dead-letters/${argument}/replay`, { ...(isEdited ? { value: editor.value } : {}), again: letter.verdict !== null });
      toast(answer.message);
      location.hash = `#/commands/${encodeURIComponent(answer.timeline)}?sent=yes`;
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
    const editor = isText ? h("textarea", { id: "content", class: "code", rows: "12", spellcheck: "false", value: pretty(letter.value), disabled: !letter.replayable, "aria-describedby": "content-hint" }) : null;
    return [
      facts([["Key", letter.key ? h("code", { class: "wrap" }, letter.key) : null], ...letter.headers.map(([name, value]) => [name, h("code", { class: "wrap" }, value)])]),
      isText
        ? h("div", null, h("label", { for: "content" }, "Content"), editor, fault)
        : h("div", null, h("p", { class: "label" }, "In base64: it is no text"), h("pre", { class: "line" }, letter.value)),
      h("p", { class: "quiet hint", id: "content-hint" }, letter.replayable ? "What you change is checked before it is replayed." : "It cannot be replayed from here."),
      letter.replayable
        ? h(
            "div",
            { class: "actions start" },
            editor || !letter.fails ? h("button", { type: "button", class: "primary", on: { click: () => replay(letter, editor) } }, letter.fails ? "Replay edited …" : "Replay …") : null,
            letter.fails ? h("button", { type: "button", class: "plain", on: { click: () => replay(letter, editor, { asItIs: true }) } }, "Replay as it is …") : null,
          )
        : null,
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
      h("p", null, h("a", { href: timelineLink(letter.timeline, new Date(letter.at).toISOString()) }, "Open its timeline"), " · ", h("a", { href: `#/dead-letters?group=${letter.group}` }, "Others with this reason")),
      ...(letter.fails && !verdict ? [h("p", { class: "note" }, "As it is it must fail again. Show its content, edit it, then replay it.")] : []),
      ...(letter.replayable ? [] : [h("p", { class: "quiet" }, NOT_REPLAYABLE[letter.stage] ?? "Only what came from a command topic can be replayed.")]),
      h("h2", null, "Content"),
      h("div", { class: "stack" }, contents(letter)),
      h("h2", null, "Nothing to be done?"),
      h("div", { class: "actions start" }, h("button", { type: "button", class: "danger", on: { click: discard } }, "Discard …")),
    );
  };

  const element = layout({ title: `Dead letter ${argument}`, back: { href: "#/dead-letters", name: "Dead letters" } }, problem, body);
  load(false);
  return { title: `Dead letter ${visible(argument)}`, element };
}
