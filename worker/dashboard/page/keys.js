// Virtual keys: finds and lists them with limits and spending; creates, edits, rotates, blocks and deletes them.

import { get, post } from "./api.js";
import { openDialog, showSecret } from "./dialog.js";
import { $, Pager, Panel, announce, badge, fill, h, link, row, small, typed } from "./dom.js";
import { fieldsOf, inputs, valuesOf, withForms } from "./form.js";
import { count, time, until } from "./format.js";
import { limits, spend } from "./limits.js";
import { here, to } from "./route.js";
import { administers, may, who } from "./session.js";

const SIZE = 20;
const filter = $("keys-filter");
let page = 1;

export const nameOf = (key) => key.key_alias ?? key.key_name;

function state(key) {
  const parts = [];
  const expired = key.expires && Date.parse(key.expires) <= Date.now();
  if (key.blocked) parts.push(badge("Blocked", "bad"));
  else if (expired) parts.push(badge("Expired", "warn"));
  else parts.push(badge("Active", "good"));
  if (key.expires) parts.push(small(expired ? `since ${time(key.expires)}` : `for ${until(key.expires)} more`));
  if (key.declared) parts.push(small("in the config file"));
  return parts;
}

function actions(key) {
  const button = (word, listener) => h("button", {
    type: "button", "data-focus": `${key.token} ${word === "Unblock" ? "Block" : word}`, "aria-label": `${word} ${nameOf(key)}`, on: { click: listener },
  }, word);
  if (!may.write()) return "–";
  const all = may.block(key) ? [button(key.blocked ? "Unblock" : "Block", (event) => (key.blocked ? unblock(key, event.currentTarget) : block(key)))] : [];
  if (!key.declared) all.unshift(button("Edit", () => edit(key).catch((error) => announce(error.message))), button("Rotate", () => rotate(key)));
  if (!key.declared) all.push(button("Delete", () => remove(key)));
  return h("div", { class: "actions" }, ...all);
}

/** What the key belongs to. */
function owner(key) {
  const parts = [key.key_alias ? key.key_name : null, key.user_id, key.team_id && `team ${key.team_id}`, key.key_type];
  return small(parts.filter(Boolean).join(" · "));
}

function show(found) {
  const pages = Math.max(1, found.total_pages);
  if (page > pages) {
    page = pages;
    keys.refresh();
    return;
  }
  const filtered = Object.keys(wanted()).length > 0;
  $("keys-note").textContent = found.total_count ? `${count(found.total_count)} ${filtered ? "found" : "in all"}` : "";
  fill($("keys-rows"), found.keys.map((key) => row([
    ["Key", [link(to("requests", "", { key: key.token, name: nameOf(key) }), nameOf(key)), owner(key)]],
    ["State", state(key)],
    ["Spend", spend(key, nameOf(key))],
    ["Limits", limits(key)],
    ["Models", key.models.length ? key.models.join(", ") : "all"],
    ["", actions(key)],
  ])), filtered ? "No keys like this" : "There are no keys yet. Create one for each bot, app or person, with a budget of its own.");
  pager.show(page, pages);
}

/** The fields that the person may set. Somebody who is no operator makes keys for itself, within its teams. */
function theirs(fields, key = null) {
  if (may.operate()) return fields;
  const { teams } = who();
  const names = teams.map((team) => [team.team_id, team.team_alias ?? team.team_id]);
  const mine = fields.filter(([name]) => !["user_id", "budget_id"].includes(name) && (name !== "team_id" || (!key && teams.length)));
  return mine.map(([name, form, schema]) => [name, name === "team_id" ? { ...form, choices: names } : form, schema]);
}

async function create() {
  const fields = inputs(theirs(await fieldsOf("KeyGenerate")));
  const nobodys = h("input", { type: "checkbox" });
  const asked = h("label", { class: "check wide" }, "A key of the team, for an app: nobody's own ", nobodys);
  if (!may.operate() && who().teams.some((team) => administers(team.team_id))) fields.splice(-1, 0, asked);
  openDialog({ title: "Create a key", inputs: fields, submit: "Create" }, async (form) => {
    const made = await post("key/generate", { ...valuesOf(form), ...(nobodys.checked && { user_id: "" }) });
    page = 1;
    keys.refresh();
    return () => showSecret(nameOf(made), made.key);
  });
}

async function edit(key) {
  const fields = inputs(theirs(await fieldsOf("KeyUpdate"), key), key);
  openDialog({ title: `Edit ${nameOf(key)}`, inputs: fields, submit: "Save" }, async (form) => {
    const changes = valuesOf(form, true);
    if (Object.keys(changes).length) {
      await post("key/update", { key: key.token, ...changes });
      keys.refresh();
    }
    return () => announce(Object.keys(changes).length ? `${nameOf(key)} is saved.` : "Nothing was changed.");
  });
}

const GRACES = [["", "no more"], ["1h", "an hour"], ["24h", "a day"], ["7d", "7 days"], ["30d", "30 days"]];

function rotate(key) {
  const grace = h("select", { name: "grace_period" }, ...GRACES.map(([value, name]) => h("option", { value, selected: value === "24h" }, name)));
  openDialog({
    title: `Rotate ${nameOf(key)}`,
    text: "The key gets a new secret and keeps its limits and what it has spent.",
    inputs: [h("label", { class: "wide" }, "The old secret works on for ", grace)],
    submit: "Rotate",
  }, async (form) => {
    const made = await post(`key/${key.token}/regenerate`, valuesOf(form));
    keys.refresh();
    return () => showSecret(nameOf(made), made.key);
  });
}

function remove(key) {
  const text = "Whoever uses it is refused at once, and it cannot be brought back. What it has spent stays in the totals. To stop it for a while, block it.";
  openDialog({ title: `Delete ${nameOf(key)}?`, text, submit: "Delete", danger: true }, async () => {
    await post("key/delete", { keys: [key.token] });
    keys.refresh();
    return () => {
      announce(`${nameOf(key)} is deleted.`);
      $("create-key").focus();
    };
  });
}

function block(key) {
  const text = "Whoever uses it is refused at once, until it is unblocked.";
  openDialog({ title: `Block ${nameOf(key)}?`, text, submit: "Block", danger: true }, async () => {
    await post("key/block", { key: key.token });
    await keys.refresh();
    return () => announce(`${nameOf(key)} is blocked.`);
  });
}

async function unblock(key, button) {
  button.disabled = true;
  try {
    await post("key/unblock", { key: key.token });
    announce(`${nameOf(key)} is unblocked.`);
  } catch (error) {
    announce(error.message);
  }
  button.disabled = false;
  button.focus();
  await keys.refresh();
}

/** The filters that are set. */
const wanted = () => Object.fromEntries([...new FormData(filter)].filter(([, value]) => value.trim()));

export const keys = new Panel("keys", () => withForms(get("key/list", { ...wanted(), page: String(page), size: String(SIZE), return_full_object: "true" })), show);
const pager = new Pager("keys-pages", (step) => {
  page += step;
  keys.refresh();
});

function find() {
  page = 1;
  keys.refresh();
}

filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("change", find);
typed(filter.elements.search, find);
$("create-key").addEventListener("click", () => create().catch((error) => announce(error.message)));

/** Takes the filters from the address, if it has any. */
export function keysOf() {
  const wished = here().query;
  if (!Object.keys(wished).length) return;
  filter.reset();
  for (const [name, value] of Object.entries(wished)) if (filter.elements[name]) filter.elements[name].value = value;
  page = 1;
}

/** Resets the page to its signed-out state. */
export function forgetKeys() {
  page = 1;
  filter.reset();
}
