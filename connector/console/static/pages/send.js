// Send: try a command out, with a form made from its schema. A filled form has one id, which is kept over retries.

import { get, post } from "../api.js";
import { confirm, h, text } from "../dom.js";
import { count } from "../format.js";
import { blame, parameters, variants } from "../form.js";
import { layout } from "../page.js";

const COMMON = ["send-message", "place-call", "get", "list"];
const DRAFT = "twilio-kafka.attempt";

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-");
}

/** What was perhaps written: kept by this tab until it is known, so that a repeat has the same id. */
const draft = {
  read: () => JSON.parse(sessionStorage.getItem(DRAFT) ?? "null"),
  keep: (given) => sessionStorage.setItem(DRAFT, JSON.stringify(given)),
  drop: () => sessionStorage.removeItem(DRAFT),
};

/** Whether a failed request certainly wrote nothing. */
const isRefused = (error) => error.status >= 400 && error.status < 500;
const content = ({ id, ...rest }) => JSON.stringify(rest);

function lines(given, summary) {
  const value = given.value;
  const said = [
    ["to", value.to],
    ["from", value.from ?? value.messaging_service_sid],
    ["body", value.body === undefined ? undefined : `${count([...value.body].length)} characters: ${value.body.length > 120 ? `${value.body.slice(0, 120)}…` : value.body}`],
    ["number", value.phone_number ?? value.area_code],
    ["about", value.sid],
    ["address", value.url],
  ].filter(([, text]) => text !== undefined);
  const cost = summary.makes ? "Twilio is asked to make something new: it costs money and cannot be taken back." : "It changes something at Twilio.";
  return [cost, `${given.command} through connection ${summary.connection}, with the id ${given.id}.`, ...said.map(([name, text]) => `${name}: ${text}`)];
}

export function open() {
  const body = h("div", { class: "stack" }, h("p", { class: "quiet" }, "Reading the schemas …"));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const doubt = h("div", { class: "note", role: "status", hidden: true });
  const fail = (sentence) => {
    problem.hidden = sentence === "";
    text(problem, sentence);
    if (sentence) problem.scrollIntoView({ block: "nearest" });
  };

  const build = ({ commands, connections }) => {
    const names = Object.keys(commands).sort((a, b) => (COMMON.indexOf(a) + 1 || 99) - (COMMON.indexOf(b) + 1 || 99) || a.localeCompare(b));
    const command = h("select", { id: "command", on: { change: () => choose() } }, names.map((name) => h("option", { value: name }, name)));
    const resource = h("select", { id: "resource", on: { change: () => draw() } });
    const resourceField = h("div", { class: "field" }, h("label", { for: "resource" }, "Resource"), resource);
    const about = h("p", { class: "quiet" });
    const place = h("div");
    const key = h("input", { id: "key", type: "text", autocomplete: "off", "aria-describedby": "key-hint" });
    const id = h("input", { id: "command-id", type: "text", autocomplete: "off", spellcheck: "false", value: newId(), "aria-describedby": "command-id-hint" });
    const idFault = h("p", { class: "fault", id: "command-id-fault", hidden: true });
    const connection = h("select", { id: "connection", "aria-describedby": "connection-hint" }, connections.map((name) => h("option", { value: name }, name)));
    const headers = h("details", null);
    const button = h("button", { type: "submit", class: "primary" }, "Send");
    let form = null;
    let known = [];
    let attempted = draft.read();

    const schemaNow = () => known.find((variant) => variant.name === resource.value) ?? known[0];
    const draw = () => {
      const { schema } = schemaNow();
      form = parameters(schema);
      about.textContent = (schema.description ?? "").replace(/[`*]/g, "");
      place.replaceChildren(form.element);
    };
    const choose = () => {
      known = variants(commands[command.value]);
      resourceField.hidden = known.length < 2;
      resource.replaceChildren(...known.map(({ name }) => h("option", { value: name }, name)));
      draw();
    };
    const fillExample = () => {
      const examples = commands[command.value].examples ?? [];
      const fitting = examples.find((example) => !example.resource || example.resource === resource.value);
      if (fitting) form.fill(fitting);
    };
    const tell = (mistakes) => {
      const rest = form.blame(mistakes);
      const ofId = rest.filter(({ field }) => field === "id").map(({ sentence }) => sentence).join("; ");
      blame(id, idFault, ofId);
      if (ofId) headers.open = true;
      fail(rest.filter(({ field }) => field !== "id").map(({ sentence }) => sentence).join(" "));
    };
    const showDoubt = () => {
      doubt.hidden = attempted === null;
      if (attempted === null) return;
      const forget = () => {
        attempted = null;
        draft.drop();
        id.value = newId();
        showDoubt();
      };
      doubt.replaceChildren(
        h("p", null, `It may still have been written, with the id ${attempted.id}. Sending again uses the same id and cannot send twice.`),
        h(
          "div",
          { class: "actions start" },
          h("a", { href: `#/commands/${encodeURIComponent(attempted.id)}` }, "Look it up"),
          h("button", { type: "button", class: "plain", on: { click: forget } }, "Begin another command"),
        ),
      );
    };

    const send = async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      fail("");
      try {
        const given = { command: command.value, resource: resource.value, value: form.value(), key: key.value, id: id.value.trim() || newId(), connection: connection.value };
        id.value = given.id;
        const { mistakes, summary } = await post("commands/check", given);
        tell(mistakes);
        if (mistakes.length || !(await isMeant(given, summary))) return;
        draft.keep(given);
        attempted = given;
        const answer = await post("commands", given);
        draft.drop();
        location.hash = `#/commands/${encodeURIComponent(answer.id)}?sent=yes`;
      } catch (error) {
        if (error.field) tell([{ field: error.field, sentence: error.message }]);
        else if (error.document?.mistakes) tell(error.document.mistakes);
        else fail(error.message);
        if (attempted && isRefused(error)) {
          attempted = null;
          draft.drop();
        }
        showDoubt();
      } finally {
        button.disabled = false;
      }
    };
    const isMeant = async (given, summary) => {
      if (attempted && attempted.id === given.id && content(attempted) !== content(given)) {
        fail("The form is another one than the one that was perhaps written under this id, and would not be executed. Look that up first, or begin another command.");
        return false;
      }
      if (!summary.changes) return true;
      return (await confirm({ title: summary.makes ? "Send it for real?" : "Change it for real?", lines: lines(given, summary), action: "Send" })) !== null;
    };

    headers.append(
      h("summary", null, "Key, id and connection"),
      h(
        "div",
        { class: "fields" },
        h("div", { class: "field" }, h("label", { for: "key" }, "Record key"), key, h("p", { class: "quiet hint", id: "key-hint" }, "Commands of one key are executed in their order.")),
        h("div", { class: "field" }, h("label", { for: "command-id" }, "Id"), id, idFault, h("p", { class: "quiet hint", id: "command-id-hint" }, "Of this form, kept over retries. Seen again within the dedupe window, it is not executed again.")),
        h("div", { class: "field" }, h("label", { for: "connection" }, "Connection"), connection, h("p", { class: "quiet hint", id: "connection-hint" }, "The account that it is executed in.")),
      ),
    );
    body.replaceChildren(
      h(
        "form",
        { class: "card send", novalidate: true, on: { submit: send } },
        h("div", { class: "fields" }, h("div", { class: "field" }, h("label", { for: "command" }, "Command"), command), resourceField),
        about,
        place,
        headers,
        problem,
        doubt,
        h("div", { class: "actions start" }, button, h("button", { type: "button", class: "plain", on: { click: fillExample } }, "Fill in an example")),
      ),
    );
    choose();
    if (attempted) {
      command.value = attempted.command;
      choose();
      resource.value = attempted.resource ?? "";
      draw();
      form.fill(attempted.value);
      [key.value, id.value, connection.value] = [attempted.key, attempted.id, attempted.connection];
    }
    showDoubt();
  };

  get("schemas").then(build, (error) => body.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message)));
  const element = layout({ title: "Send", lead: "Writes a command to its topic as any application would; a connector executes it, for real. Its timeline opens at once." }, body);
  return { title: "Send", element };
}
