// One callback: which URL and string were signed, and why the check failed.

import { get, post } from "../api.js";
import { confirm, h, toast } from "../dom.js";
import { pill, time } from "../format.js";
import { facts, layout, refreshing } from "../page.js";

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

export function open({ argument }) {
  const body = h("div", { class: "stack" });
  let content = false;
  const reading = refreshing(() => get(`callbacks/${argument}`, content ? { content: "yes" } : {}), (found) => show(found));

  const again = async (found) => {
    const asked = await confirm({
      title: "Deliver it again?",
      lines: [`The same form is sent to ${found.url.split("?")[0]}, signed anew. It becomes another record with the same event id, so that consumers recognise the repeat.`],
      action: "Deliver again",
    });
    if (asked === null) return;
    try {
      const answer = await post(`callbacks/${argument}/replay`);
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
    { title: `Callback ${argument}`, lead: "Values are masked until you ask for them; a signature or a token is never shown.", back: { href: "#/callbacks", name: "Callbacks" } },
    reading.problem,
    body,
  );
  reading.now();
  return { title: "A callback", element };
}
