// Virtual keys: lists them with limits and spending; creates, rotates, blocks and deletes them.

import { get, post } from "./api.js";
import { $, Panel, announce, ask, badge, fill, h, meter, row } from "./dom.js";
import { count, each, time, until, usd } from "./format.js";

const SIZE = 20;
let page = 1;

export const nameOf = (key) => key.key_alias ?? key.key_name;

function state(key) {
  const parts = [];
  const expired = key.expires && Date.parse(key.expires) <= Date.now();
  if (key.blocked) parts.push(badge("Blocked", "bad"));
  else if (expired) parts.push(badge("Expired", "warn"));
  else parts.push(badge("Active", "good"));
  if (key.expires) parts.push(h("small", {}, expired ? `since ${time(key.expires)}` : `for ${until(key.expires)} more`));
  if (key.declared) parts.push(h("small", {}, "in the config file"));
  return parts;
}

/** What running requests hold. Most cost less than that in the end. */
function held(key) {
  const running = key.running_requests;
  return running ? `${usd(key.reserved)} held by ${count(running)} running` : null;
}

function spend(key) {
  const used = key.spend + key.reserved;
  const total = h("small", {}, [held(key), `${usd(key.total_spend)} ever`].filter(Boolean).join(" · "));
  if (key.max_budget === null) return [usd(used), total];
  const bar = h("div", { class: "meter" }, h("div"));
  meter(bar, key.max_budget ? used / key.max_budget : 1, `Budget used by ${nameOf(key)}`);
  return [`${usd(used)} of ${usd(key.max_budget)}${each(key.budget_duration)}`, bar, total];
}

function limits(key) {
  const said = [];
  if (key.rpm_limit !== null) said.push(`${count(key.rpm_limit)} requests/min`);
  if (key.tpm_limit !== null) said.push(`${count(key.tpm_limit)} tokens/min`);
  if (key.max_parallel_requests !== null) said.push(`${count(key.max_parallel_requests)} at once`);
  return said.length ? said.join(", ") : "–";
}

function actions(key) {
  const button = (word, listener) => h("button", {
    type: "button", "data-focus": `${key.token} ${word === "Unblock" ? "Block" : word}`, "aria-label": `${word} ${nameOf(key)}`, on: { click: listener },
  }, word);
  const all = [button(key.blocked ? "Unblock" : "Block", (event) => block(key, event.currentTarget))];
  if (!key.declared) all.unshift(button("Rotate", () => rotate(key)));
  if (!key.declared) all.push(button("Delete", () => remove(key)));
  return h("div", { class: "actions" }, ...all);
}

function show([found, inputs]) {
  if (inputs) $("create-fields").replaceChildren(...inputs);
  const pages = Math.max(1, found.total_pages);
  if (page > pages) {
    page = pages;
    keys.refresh();
    return;
  }
  $("keys-note").textContent = found.total_count ? `${count(found.total_count)} in all` : "";
  fill($("keys-rows"), found.keys.map((key) => row([
    ["Key", [nameOf(key), h("small", {}, [key.key_alias ? key.key_name : null, key.user_id].filter(Boolean).join(" · "))]],
    ["State", state(key)],
    ["Spend", spend(key)],
    ["Limits", limits(key)],
    ["Models", key.models.length ? key.models.join(", ") : "all"],
    ["", actions(key)],
  ])), "There are no keys yet. Create one for each bot, app or person, with a budget of its own.");
  const turn = $("keys-pages");
  turn.hidden = pages === 1;
  turn.children[0].disabled = page === 1;
  turn.children[1].textContent = `Page ${page} of ${pages}`;
  turn.children[2].disabled = page === pages;
}

function showSecret(name, secret) {
  const dialog = $("secret-dialog");
  dialog.querySelector(".name").textContent = name;
  $("secret").value = secret;
  dialog.addEventListener("close", () => { $("secret").value = ""; }, { once: true });
  ask(dialog);
  $("copy-secret").focus();
}

async function copySecret() {
  const field = $("secret");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without HTTPS there is no clipboard API, but this older method works.
    if (!document.execCommand("copy")) return announce("It could not be copied: it is selected, press Ctrl+C.");
  }
  announce("The secret is on the clipboard.");
}

/** Creates the inputs for new keys from the key fields in `/openapi.json`. */
async function createInputs() {
  const description = await get("openapi.json");
  const fields = Object.entries(description.components.schemas.KeyGenerate.properties);
  return fields.filter(([, field]) => field["x-form"]).map(([name, field]) => input(name, field["x-form"], field.anyOf[0]));
}

function input(name, form, schema) {
  const hint = form.hint ? h("span", { class: "note", id: `${name}-hint` }, form.hint) : null;
  const common = { name, "data-input": form.input, "data-follows": form.follows || null, "aria-describedby": hint?.id };
  const number = { type: "number", min: 0, step: form.input === "integer" ? 1 : "any", inputmode: "decimal" };
  const field = form.choices.length
    ? h("select", common, ...form.choices.map(([value, text]) => h("option", { value }, text)))
    : h("input", { ...common, placeholder: form.blank, maxlength: schema.maxLength, ...(["number", "integer"].includes(form.input) && number) });
  return h("label", { class: form.wide ? "wide" : null }, `${form.label} `, field, hint);
}

/** Returns the form's values without empty fields. */
function fieldsOf(form) {
  const fields = {};
  for (const [name, text] of new FormData(form)) {
    const value = text.trim();
    const { input, follows } = form.elements[name].dataset;
    if (!value || (follows && !form.elements[follows].value.trim())) continue;
    if (input === "list") fields[name] = value.split(",").map((one) => one.trim()).filter(Boolean);
    else fields[name] = ["number", "integer"].includes(input) ? Number(value) : value;
  }
  return fields;
}

function create() {
  ask($("create-dialog"), async (form) => {
    const made = await post("key/generate", fieldsOf(form));
    page = 1;
    keys.refresh();
    return () => showSecret(nameOf(made), made.key);
  });
}

function rotate(key) {
  $("rotate-dialog").querySelector(".name").textContent = nameOf(key);
  ask($("rotate-dialog"), async (form) => {
    const made = await post(`key/${key.token}/regenerate`, fieldsOf(form));
    keys.refresh();
    return () => showSecret(nameOf(made), made.key);
  });
}

function remove(key) {
  $("delete-dialog").querySelector(".name").textContent = nameOf(key);
  ask($("delete-dialog"), async () => {
    await post("key/delete", { keys: [key.token] });
    keys.refresh();
    return () => {
      announce(`${nameOf(key)} is deleted.`);
      $("create-key").focus();
    };
  });
}

async function block(key, button) {
  button.disabled = true;
  try {
    await post(key.blocked ? "key/unblock" : "key/block", { key: key.token });
    announce(`${nameOf(key)} is ${key.blocked ? "unblocked" : "blocked"}.`);
  } catch (error) {
    announce(error.message);
  }
  button.disabled = false;
  button.focus();
  await keys.refresh();
}

async function load() {
  const listed = get("key/list", { page: String(page), size: String(SIZE), return_full_object: "true" });
  return Promise.all([listed, $("create-fields").children.length ? null : createInputs()]);
}

export const keys = new Panel("keys", load, show);
$("create-key").addEventListener("click", create);
$("copy-secret").addEventListener("click", copySecret);
$("keys-pages").addEventListener("click", (event) => {
  const step = { back: -1, on: 1 }[event.target.value];
  if (!step) return;
  page += step;
  keys.refresh();
});

/** Resets the page to its signed-out state. */
export function forgetKeys() {
  page = 1;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  $("secret").value = "";
}
