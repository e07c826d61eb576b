// Forms made from the tables of fields that the gateway describes in /openapi.json (`x-form`).

import { get } from "./api.js";
import { h } from "./dom.js";

let described = null;

function description() {
  described ??= get("openapi.json").catch((error) => {
    described = null;
    throw error;
  });
  return described;
}

/** Resolves to what `call` does, and fetches the description meanwhile, so that a form opens at once. */
export const withForms = (call) => Promise.all([call, description().catch(() => null)]).then(([found]) => found);

/** The fields of a request's schema that have an input, as [name, x-form, JSON schema]. */
export async function fieldsOf(schema) {
  const { components } = await description();
  const fields = Object.entries(components.schemas[schema]?.properties ?? {});
  return fields.filter(([, field]) => field["x-form"]).map(([name, field]) => [name, field["x-form"], field.anyOf?.[0] ?? field]);
}

/** The inputs for these fields. `before`: the values of what is edited, null for something new. */
export function inputs(fields, before = null) {
  const made = (more) => ordered(fields.filter(([, form]) => form.more === more)).map((field) => input(...field, before));
  const rest = made(true);
  if (!rest.length) return made(false);
  const used = before && fields.some(([name, form]) => form.more && asText(before[name], form.input) && before[name] !== false);
  return [...made(false), h("details", { class: "wide", open: used }, h("summary", {}, "More"), h("div", { class: "grid" }, ...rest))];
}

/** A field that follows another stands beside it. */
const ordered = (fields) => fields.filter(([, form]) => !form.follows || !fields.some(([name]) => name === form.follows)).flatMap(
  (field) => [field, ...fields.filter(([, form]) => form.follows === field[0])],
);

function input(name, form, schema, before) {
  const hint = form.hint ? h("span", { class: "note", id: `${name}-hint` }, form.hint) : null;
  const common = { name, "data-input": form.input, "data-label": form.label, "data-follows": form.follows || null, "aria-describedby": hint?.id };
  const number = ["number", "integer"].includes(form.input) && { type: "number", min: 0, step: form.input === "integer" ? 1 : "any", inputmode: "decimal" };
  const text = before ? asText(before[name], form.input) : "";
  let field;
  if (form.input === "flag") field = h("input", { ...common, type: "checkbox", checked: before?.[name] === true });
  else if (form.choices.length) field = h("select", common, ...choices(form, before, name in (before ?? {}), text));
  else if (form.input === "json") {
    field = h("textarea", { ...common, rows: 3, placeholder: form.blank, spellcheck: "false" }, text);
  } else field = h("input", { ...common, value: text || null, placeholder: form.blank, maxlength: schema.maxLength, ...number });
  return h("label", { class: [form.wide && "wide", form.input === "flag" && "check"].filter(Boolean).join(" ") || null }, `${form.label} `, field, hint);
}

/** `known`: the current value can be read. A lifetime cannot: only when it ends is known. */
function choices(form, before, known, text) {
  if (!before) return form.choices.map(([value, name]) => h("option", { value }, name));
  const all = known ? form.choices : [["", "as before"], ...form.choices.map(([value, name]) => [value || "-1", name])];
  if (!all.some(([value]) => value === text)) all.push([text, text]);
  return all.map(([value, name]) => h("option", { value, selected: value === text }, name));
}

function asText(value, input) {
  if (value === null || value === undefined) return "";
  if (input === "list") return value.join(", ");
  if (input === "json") return Object.keys(value).length ? JSON.stringify(value, null, 1) : "";
  return String(value);
}

/** The form's values. Of something new, without empty fields; of something that is edited, those that were changed, null
 *  for a field that was emptied. */
export function valuesOf(form, edited = false) {
  const values = {};
  for (const field of form.elements) {
    const { input: kind, follows, label } = field.dataset;
    if (!field.name) continue;
    const text = field.value.trim();
    if (kind === "flag") {
      if (field.checked !== field.defaultChecked) values[field.name] = field.checked;
    } else if (edited ? text === initial(field) : !text) continue;
    else if (follows && !form.elements[follows].value.trim()) continue;
    else values[field.name] = text ? read(text, kind, label) : null;
  }
  return values;
}

const initial = (field) => (field.options ? [...field.options].find((one) => one.defaultSelected)?.value ?? field.options[0]?.value : field.defaultValue).trim();

function read(text, kind, label) {
  if (kind === "list") return text.split(",").map((one) => one.trim()).filter(Boolean);
  if (kind === "number" || kind === "integer") return Number(text);
  if (kind !== "json") return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${label} is not valid JSON.`);
  }
}
