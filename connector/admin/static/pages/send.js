// Send: try a command out, with a form made from its schema.

import { get, post } from "../api.js";
import { h, text } from "../dom.js";
import { parameters, variants } from "../form.js";
import { layout } from "../page.js";

const COMMON = ["send-message", "place-call", "get", "list"];

export function open() {
  const body = h("div", { class: "stack" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const fail = (error) => {
    problem.hidden = false;
    text(problem, error.message);
    problem.scrollIntoView({ block: "nearest" });
  };

  const build = ({ commands, connections }) => {
    const names = Object.keys(commands).sort((a, b) => (COMMON.indexOf(a) + 1 || 99) - (COMMON.indexOf(b) + 1 || 99) || a.localeCompare(b));
    const command = h("select", { id: "command", on: { change: () => choose() } }, names.map((name) => h("option", { value: name }, name)));
    const resource = h("select", { id: "resource", on: { change: () => draw() } });
    const resourceField = h("div", { class: "field" }, h("label", { for: "resource" }, "Resource"), resource);
    const about = h("p", { class: "quiet" });
    const place = h("div");
    const key = h("input", { id: "key", type: "text", autocomplete: "off", "aria-describedby": "key-hint" });
    const id = h("input", { id: "command-id", type: "text", autocomplete: "off", "aria-describedby": "id-hint" });
    const connection = h("select", { id: "connection" }, connections.map((name) => h("option", { value: name }, name)));
    let form = null;
    let known = [];

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
    const send = async (event) => {
      event.preventDefault();
      problem.hidden = true;
      try {
        const given = { command: command.value, value: form.value(), key: key.value, id: id.value, connection: connection.value };
        const answer = await post("commands", given);
        location.hash = `#/commands/${encodeURIComponent(answer.id)}`;
      } catch (error) {
        fail(error);
      }
    };

    body.replaceChildren(
      h(
        "form",
        { class: "card send", novalidate: true, on: { submit: send } },
        h("div", { class: "fields" }, h("div", { class: "field" }, h("label", { for: "command" }, "Command"), command), resourceField),
        about,
        place,
        h(
          "details",
          null,
          h("summary", null, "Key, id and connection"),
          h(
            "div",
            { class: "fields" },
            h("div", { class: "field" }, h("label", { for: "key" }, "Record key"), key, h("p", { class: "quiet hint", id: "key-hint" }, "Commands of one key are executed in their order.")),
            h("div", { class: "field" }, h("label", { for: "command-id" }, "Id"), id, h("p", { class: "quiet hint", id: "id-hint" }, "Seen again within the dedupe window, it is not executed again.")),
            h("div", { class: "field" }, h("label", { for: "connection" }, "Connection"), connection),
          ),
        ),
        problem,
        h("div", { class: "actions start" }, h("button", { type: "submit", class: "primary" }, "Send"), h("button", { type: "button", class: "plain", on: { click: fillExample } }, "Fill in an example")),
      ),
    );
    choose();
  };

  get("schemas").then(build, (error) => body.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message)));
  const element = layout({ title: "Send", lead: "Writes a command to its topic as any application would; a connector executes it, for real. Its story opens at once." }, body);
  return { title: "Send", element };
}
