// A form from a JSON Schema of a command's parameters: what is required first, everything else on request.

import { h, text } from "./dom.js";

/** The members of a schema by name, whatever null they may be besides. */
function kindOf(schema) {
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  if (schema.enum ?? schema.anyOf?.find((option) => option.enum)) return "choice";
  if (schema.const !== undefined) return "fixed";
  if (types.includes("boolean")) return "boolean";
  if (types.includes("integer") || types.includes("number")) return "number";
  if (types.includes("string")) return (schema.maxLength ?? 0) > 200 ? "long" : "text";
  if (types.includes("array") && [schema.items?.type].flat().includes("string")) return "lines";
  return "json";
}

const options = (schema) => (schema.enum ?? schema.anyOf.find((option) => option.enum).enum).filter((value) => value !== null);

const READ = {
  choice: (text) => text,
  text: (text) => text,
  long: (text) => text,
  boolean: (text) => text === "true",
  number: (text) => Number(text),
  lines: (text) => text.split("\n").map((line) => line.trim()).filter(Boolean),
  json: (text) => JSON.parse(text),
};

function control(kind, schema, id) {
  const shared = { id, "aria-describedby": `${id}-hint` };
  const select = (values) => h("select", shared, h("option", { value: "" }, "not given"), values.map((value) => h("option", { value }, String(value))));
  switch (kind) {
    case "choice":
      return select(options(schema));
    case "boolean":
      return select(["true", "false"]);
    case "number":
      return h("input", { ...shared, type: "number", step: "any", min: schema.minimum, max: schema.maximum });
    case "long":
    case "lines":
    case "json":
      return h("textarea", { ...shared, rows: kind === "long" ? "4" : "3", maxlength: schema.maxLength, class: kind === "json" ? "code" : "", spellcheck: kind === "long" ? "true" : "false" });
    default:
      return h("input", { ...shared, type: "text", autocomplete: "off", spellcheck: "false", maxlength: schema.maxLength });
  }
}

/** What is wrong with one field. */
export class Fault extends Error {
  constructor(field, sentence) {
    super(sentence);
    this.field = field;
  }
}

/** Say at a control what is wrong with it; nothing for an empty sentence. */
export function blame(input, place, sentence) {
  place.hidden = !sentence;
  text(place, sentence ? `${sentence}.` : "");
  if (sentence) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", `${input.id}-fault ${input.id}-hint`);
  } else {
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", `${input.id}-hint`);
  }
}

function field(name, schema, required) {
  const kind = kindOf(schema);
  const id = `field-${name}`;
  const input = kind === "fixed" ? h("input", { id, type: "text", value: schema.const, disabled: true, "aria-describedby": `${id}-hint` }) : control(kind, schema, id);
  if (required && kind !== "fixed") input.required = true;
  const hint = [schema.description?.replace(/`/g, ""), kind === "lines" ? "One on each line." : "", kind === "json" ? "As JSON." : ""].filter(Boolean).join(" ");
  const fault = h("p", { class: "fault", id: `${id}-fault`, hidden: true });
  const element = h("div", { class: "field", hidden: kind === "fixed" }, h("label", { for: id }, h("code", null, name), required ? h("span", { class: "required" }, " required") : null), input, fault, h("p", { class: "quiet hint", id: `${id}-hint` }, hint));
  const read = () => {
    if (kind === "fixed") return schema.const;
    if (input.value.trim() === "") return undefined;
    try {
      return READ[kind](input.value);
    } catch {
      throw new Fault(name, `${name} is not JSON`);
    }
  };
  const write = (value) => {
    if (kind === "fixed") return;
    if (value === undefined || value === null) input.value = "";
    else if (kind === "lines") input.value = value.join("\n");
    else input.value = kind === "json" ? JSON.stringify(value) : String(value);
  };
  return { name, element, read, write, blame: (sentence) => blame(input, fault, sentence) };
}

/** The form of one schema: `value()` is what was filled in, `fill(value)` puts an example in. */
export function parameters(schema) {
  const required = schema.required ?? [];
  const either = ["from", "body", "twiml", "url", "media_url", "messaging_service_sid", "area_code", "phone_number", "limit", "method", "query"];
  const names = Object.keys(schema.properties ?? {});
  const first = names.filter((name) => required.includes(name) || either.includes(name)).sort((a, b) => required.includes(b) - required.includes(a));
  const later = names.filter((name) => !first.includes(name));
  const fields = [...first, ...later].map((name) => field(name, schema.properties[name], required.includes(name)));
  const by = new Map(fields.map((entry) => [entry.name, entry]));
  const more = later.length
    ? h("details", null, h("summary", null, `${later.length} more parameters`), h("div", { class: "fields" }, later.map((name) => by.get(name).element)))
    : null;
  const element = h("div", null, h("div", { class: "fields" }, first.map((name) => by.get(name).element)), more);
  return {
    element,
    value: () => Object.fromEntries(fields.map((entry) => [entry.name, entry.read()]).filter(([, value]) => value !== undefined)),
    /** Says at each field what is wrong with it; returns what is about no field of this form. */
    blame: (mistakes) => {
      for (const entry of fields) entry.blame(mistakes.filter(({ field: name }) => name === entry.name).map(({ sentence }) => sentence).join("; "));
      if (more && later.some((name) => mistakes.some(({ field: wrong }) => wrong === name))) more.open = true;
      element.querySelector("[aria-invalid]")?.focus();
      return mistakes.filter(({ field: name }) => !by.has(name));
    },
    fill: (value) => {
      for (const entry of fields) entry.write(value[entry.name]);
      if (more && later.some((name) => value[name] !== undefined)) more.open = true;
    },
  };
}

/** The schemas of a command by the value of `resource`; one without a name where the command knows no resources. */
export function variants(schema) {
  const found = (schema.oneOf ?? [schema]).map((option) => (option.$ref ? schema.$defs[option.$ref.split("/").at(-1)] : option));
  return found.map((option) => ({ name: option.properties?.resource?.const ?? "", schema: option }));
}
