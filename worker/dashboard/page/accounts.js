// Teams, users, end users, tags and shared budgets: what they spend and what limits them; makes, edits, blocks and deletes
// them. Their fields come from the gateway, see `form`.

import { get, post } from "./api.js";
import { openDialog } from "./dialog.js";
import { $, Pager, Panel, announce, badge, fill, h, link, row, small, typed } from "./dom.js";
import { fieldsOf, inputs, valuesOf, withForms } from "./form.js";
import { count } from "./format.js";
import { effective, limits, spend } from "./limits.js";
import { here, to } from "./route.js";
import { may, signsPeopleIn, who } from "./session.js";

const SIZE = 20;
const filter = $("accounts-filter");
const models = (owner) => (owner.models?.length ? owner.models.join(", ") : "all models");
const several = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const ROLES = {
  proxy_admin: "operator", proxy_admin_viewer: "operator who only looks", internal_user: "member", internal_user_viewer: "member who only looks",
};

/** By view. `path`: of the endpoints. `list`: the field with the rows. `id`: the field with the id, and its label for a new
 *  one. `more`: further names, `says`: the last column. `own`: the filter of keys,
 *  `spent`: of requests, that finds theirs. */
const KINDS = {
  teams: {
    word: "team", path: "team", list: "teams", schema: "Team", id: "team_id", label: "Id, made up if empty", name: (one) => one.team_alias,
    says: (one) => [models(one), one.members_count !== undefined && several(one.members_count, "member")],
    named: (id) => ({ team_id: id }), deleted: (id) => ({ team_ids: [id] }), own: "team_id", spent: "team_id",
    loss: "Its keys are deleted with it.", page: (id) => to("team", id),
  },
  users: {
    word: "user", path: "user", list: "users", schema: "User", id: "user_id", label: "Id, made up if empty", name: (one) => one.user_alias ?? one.user_email,
    more: (one) => one.user_alias && one.user_email,
    says: (one) => [ROLES[one.user_role] ?? "member", models(one), one.teams?.length && `in ${one.teams.join(", ")}`],
    added: { auto_create_key: false }, deleted: (id) => ({ user_ids: [id] }), own: "user_id", spent: "user_id",
    loss: "The user's keys are deleted, too, and its sessions end.",
  },
  "end-users": {
    word: "end user", path: "customer", list: "customers", schema: "Customer", id: "user_id", label: "Id, as clients send it", name: (one) => one.alias,
    says: () => [], named: (id) => ({ user_ids: [id] }), deleted: (id) => ({ user_ids: [id] }), spent: "end_user", loss: "Its requests have no limits of their own any more.",
  },
  tags: {
    word: "tag", path: "tag", list: "tags", schema: "Tag", id: "name", label: "Tag", name: () => null,
    says: (one) => [one.description], deleted: (id) => ({ name: id }), spent: "tag", loss: "Requests with this tag have no limits of its own any more.",
  },
  budgets: {
    word: "budget", path: "budget", list: "budgets", schema: "Budget", id: "budget_id", label: "Id, made up if empty", name: () => null,
    says: () => [], deleted: (id) => ({ id }), loss: "", shared: true,
  },
};
export const ACCOUNTS = Object.keys(KINDS);
const kindOf = () => (may.operate() && KINDS[here().view]) || KINDS.teams;
let page = 1;

const idOf = (kind, one) => one[kind.id];
const nameOf = (kind, one) => kind.name(one) || idOf(kind, one);

function state(one) {
  const parts = [one.blocked ? badge("Blocked", "bad") : badge("Active", "good")];
  if (one.declared) parts.push(small("in the config file"));
  return parts;
}

function actions(kind, one) {
  const name = nameOf(kind, one);
  const button = (word, listener) => h("button", {
    type: "button", "data-focus": `${kind.word} ${idOf(kind, one)} ${word === "Unblock" ? "Block" : word}`, "aria-label": `${word} ${name}`, on: { click: listener },
  }, word);
  if (!may.operate() || !may.write()) return "–";
  const all = [];
  if (!one.declared) all.push(button("Edit", () => edit(kind, one).catch((error) => announce(error.message))));
  if (!kind.shared) all.push(button(one.blocked ? "Unblock" : "Block", () => block(kind, one)));
  if (kind.path === "user" && signsPeopleIn()) all.push(button("Sign out", () => end(one)));
  if (!one.declared) all.push(button("Delete", () => remove(kind, one)));
  return h("div", { class: "actions" }, ...all);
}

function line(kind, one) {
  const id = idOf(kind, one);
  const name = nameOf(kind, one);
  const more = [name === id ? null : id, kind.more?.(one)].filter(Boolean).join(" · ");
  const limited = effective(one);
  const number = one.keys_count ?? one.key_count;
  const keys = number !== undefined && [link(to("keys", "", { [kind.own]: id }), several(number, "key")), " · "];
  const requests = kind.spent && link(to("requests", "", { [kind.spent]: id }), "requests");
  return row([
    ["Name", [kind.page ? link(kind.page(id), name) : h("span", {}, name), more ? small(more) : null]],
    ["State", kind.shared ? "–" : state(one)],
    ["Spend", spend(limited, name)],
    ["Limits", limits(limited)],
    ["About", [...kind.says(one).filter(Boolean).map((text) => h("div", {}, text)), one.budget_id && !kind.shared ? small(`shared budget ${one.budget_id}`) : null, ...(keys || []), requests ?? null]],
    ["", actions(kind, one)],
  ]);
}

function show(found) {
  const kind = kindOf();
  const [rows, total, pages] = [found[kind.list], found.total, Math.max(1, found.total_pages)];
  if (page > pages) {
    page = pages;
    accounts.refresh();
    return;
  }
  const wanted = search();
  $("accounts-note").textContent = total ? `${count(total)} ${wanted ? "found" : "in all"}` : "";
  fill($("accounts-rows"), rows.map((one) => line(kind, one)), wanted ? `No ${kind.word}s like this` : `There are no ${kind.word}s yet`);
  pager.show(page, pages);
}

async function create() {
  const kind = kindOf();
  const id = h("label", { class: "wide" }, `${kind.label} `, h("input", { name: kind.id, required: !kind.label.includes("empty"), maxlength: 255, autocomplete: "off" }));
  openDialog({ title: `Create a ${kind.word}`.replace("a end", "an end"), inputs: [id, ...inputs(await fieldsOf(`${kind.schema}New`))], submit: "Create" }, async (form) => {
    await post(`${kind.path}/new`, { ...valuesOf(form), ...kind.added });
    page = 1;
    await accounts.refresh();
    return () => announce(`The ${kind.word} is created.`);
  });
}

async function edit(kind, one) {
  const fields = inputs(await fieldsOf(`${kind.schema}Update`), one);
  openDialog({ title: `Edit ${nameOf(kind, one)}`, inputs: fields, submit: "Save" }, async (form) => {
    const changes = valuesOf(form, true);
    if (Object.keys(changes).length) {
      await post(`${kind.path}/update`, { [kind.id]: idOf(kind, one), ...changes });
      await accounts.refresh();
    }
    return () => announce(Object.keys(changes).length ? `${nameOf(kind, one)} is saved.` : "Nothing was changed.");
  });
}

function block(kind, one) {
  const [id, word] = [idOf(kind, one), one.blocked ? "Unblock" : "Block"];
  const text = one.blocked ? "Its requests are admitted again." : "Its requests are refused at once, until it is unblocked.";
  openDialog({ title: `${word} ${nameOf(kind, one)}?`, text, submit: word, danger: !one.blocked }, async () => {
    if (kind.named) await post(`${kind.path}/${word.toLowerCase()}`, kind.named(id));
    else await post(`${kind.path}/update`, { [kind.id]: id, blocked: !one.blocked });
    await accounts.refresh();
    return () => announce(`${nameOf(kind, one)} is ${word.toLowerCase()}ed.`);
  });
}

/** Ends the sessions of a user. */
function end(user) {
  const name = KINDS.users.name(user) || user.user_id;
  openDialog({ title: `Sign ${name} out?`, text: "All sessions of the user end at once. To keep the user out, block it.", submit: "Sign out", danger: true }, async () => {
    const { sessions_ended: number } = await post("dashboard/sessions/revoke", { user_id: user.user_id });
    return () => announce(`${several(number, "session")} of ${name} ended.`);
  });
}

function remove(kind, one) {
  const text = `${kind.loss} It cannot be brought back. What was spent stays in the totals.`.trim();
  openDialog({ title: `Delete ${nameOf(kind, one)}?`, text, submit: "Delete", danger: true }, async () => {
    await post(`${kind.path}/delete`, kind.deleted(idOf(kind, one)));
    await accounts.refresh();
    return () => {
      announce(`${nameOf(kind, one)} is deleted.`);
      $("create-account").focus();
    };
  });
}

/** The teams of somebody who is no operator. The provider may name some that do not list the person as a member. */
async function theirs(search) {
  const found = await Promise.all(who().teams.map((team) => get("team/info", { team_id: team.team_id })));
  const teams = found.map((one) => one.team_info).filter((team) => `${team.team_id} ${team.team_alias}`.toLowerCase().includes(search.toLowerCase()));
  return { teams, total: teams.length, total_pages: 1 };
}

const search = () => filter.elements.search.value.trim();
const load = () => withForms(may.operate() ? all() : theirs(search()));
const all = () => get(`${kindOf().path}/list`, { search: search(), page: String(page), page_size: String(SIZE) });
export const accounts = new Panel("accounts", load, show);
const pager = new Pager("accounts-pages", (step) => {
  page += step;
  accounts.refresh();
});
filter.addEventListener("submit", (event) => event.preventDefault());
typed(filter.elements.search, () => {
  page = 1;
  accounts.refresh();
});
$("create-account").addEventListener("click", () => create().catch((error) => announce(error.message)));

/** Turns to the kind that the address names. */
export function accountsOf() {
  const kind = kindOf();
  page = 1;
  filter.reset();
  const words = `${kind.word}s`;
  $("accounts-title").textContent = words[0].toUpperCase() + words.slice(1);
  $("create-account").hidden = !may.operate() || !may.write();
  $("create-account").textContent = `Create a ${kind.word}`.replace("a end", "an end");
  $("accounts-rows").replaceChildren();
  for (const anchor of document.querySelectorAll("#account-kinds a")) {
    if (anchor.hash === `#/${here().view}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

/** Resets the page to its signed-out state. */
export function forgetAccounts() {
  page = 1;
  filter.reset();
}
