// One callback: which URL and string were signed, and why the check failed.

import { get, post } from "../api.js";
import { confirm, h, toast, visible } from "../dom.js";
import { json, pill, time } from "../format.js";
import { facts, layout, refreshing } from "../page.js";
import { timelineLink } from "../search.js";

const attempt = (tried, _, all) =>
  h(
    "li",
    { class: `step ${tried.matches ? "good" : all.some((other) => other.matches) ? "none" : "bad"}` },
    h("div", { class: "step-head" }, pill(tried.matches ? "matches" : "differs"), h("span", null, tried.secret)),
    h("p", { class: "label" }, "URL"),
    h("pre", { class: "line url" }, tried.url),
    h("p", { class: "label" }, "String that was signed"),
    h("pre", { class: "line signed" }, tried.signed),
  );

export function open({ argument, query }) {
  const body = h("div", { class: "stack" });
  const record = h("div", { class: "stack" });
  let content = false;
  let number = argument.includes("/") ? null : argument;
  const load = async () => {
    if (argument.includes("/") && number === null) {
      const found = await get(`callbacks/${argument}`);
      showRecord(found);
      if (!found.number) return null;
      number = found.number;
    }
    return get(`callbacks/${number}`, { content: content ? "yes" : "", at: query.get("at") });
  };
  const reading = refreshing(load, (found) => { if (found) show(found); });

  const showRecord = (found) => {
    record.replaceChildren(
      ...(found.number ? [] : [h("p", { class: "note" }, "It was stored. How its signature was checked is known to the process that received it alone, for the last hundred or so and until that process ends.")]),
      h("p", null, h("a", { href: timelineLink(found.timeline, found.at) }, "Open its timeline")),
      h("details", { open: !found.number }, h("summary", null, `Its record: ${argument}`), h("p", { class: "quiet" }, time(found.at)), json(found.shown.value)),
    );
  };

  const again = async (found) => {
    const asked = await confirm({
      title: "Deliver it again?",
      lines: [`The same form is sent to ${found.url.split("?")[0]}, signed anew. It becomes another record with the same event id, so that consumers recognise the repeat.`],
      action: "Deliver again",
    });
    if (asked === null) return;
    try {
      const answer = await post(`callbacks/${number}/replay`);
      toast(answer.message, answer.done ? "good" : "bad");
    } catch (error) {
      toast(error.message, "bad");
    }
  };

  const show = (found) => {
    const values = h("button", { type: "button", "aria-pressed": String(content), on: { click: () => { content = !content; reading.now(); } } }, content ? "Hide values" : "Show values");
    const replay = h("button", { type: "button", on: { click: () => again(found) } }, "Deliver again …");
    body.replaceChildren(
      h("p", { class: `note ${found.stored ? "good" : "bad"}` }, found.advice),
      facts([
        ["Verdict", pill(found.stored ? "stored" : "refused")],
        ["Answered", String(found.status)],
        ["Reason", found.reason],
        ["At", time(found.at)],
        ["Account", found.account ? h("code", { class: "wrap" }, found.account) : "none named"],
        ["Connection", found.knows_account ? "has this account" : "none has it"],
        ["Algorithm", found.algorithm],
        ["Signature received", found.signature ? h("code", null, found.signature) : "none"],
        ["Would match with", found.matching_base ? h("code", { class: "wrap" }, found.matching_base) : null],
      ]),
      h("div", { class: "actions start" }, values, found.replayable ? replay : null),
      h("h2", null, "What was compared"),
      found.attempts.length ? h("ol", { class: "steps" }, found.attempts.map(attempt)) : h("p", { class: "quiet" }, "Nothing: there was no secret or no signature to compare with."),
      h("h2", null, "Fields"),
      facts(Object.entries(found.fields).map(([name, value]) => [name, h("code", { class: "wrap" }, String(value))])),
    );
  };

  const element = layout(
    { title: argument.includes("/") ? "A stored callback" : `Callback ${argument}`, lead: "Values are masked until you ask for them; a signature or a token is never shown.", back: { href: "#/callbacks", name: "Callbacks" } },
    reading.problem,
    record,
    body,
  );
  reading.now();
  return { title: `Callback ${visible(argument)}`, element };
}
