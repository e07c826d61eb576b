// One team: its limits, its spending and its members.

import { get, post } from "./api.js";
import { openDialog } from "./dialog.js";
import { $, Panel, announce, facts, fill, h, link, row, small } from "./dom.js";
import { effective, limits, spend } from "./limits.js";
import { here, to } from "./route.js";
import { administers, may } from "./session.js";

const ROLES = { admin: "Admin", user: "Member" };
const id = () => here().id;
const person = (member) => member.user_email ?? member.user_id;
const manages = () => may.write() && (may.operate() || administers(id()));

function show({ team_info: team }) {
  const name = team.team_alias ?? team.team_id;
  $("team-title").textContent = name;
  $("team-facts").replaceChildren(...facts([
    ["Spend", spend(effective(team), name)],
    ["Limits", limits(effective(team))],
    ["Models", team.models?.length ? team.models.join(", ") : "all"],
    ["Shared budget", team.budget_id],
    ["Id", h("code", {}, team.team_id)],
    ["Keys", link(to("keys", "", { team_id: team.team_id }), "its keys")],
    ["Requests", link(to("requests", "", { team_id: team.team_id }), "its requests")],
  ]));
  const members = team.members_with_roles;
  $("team-members").hidden = !members;
  $("add-member").hidden = !manages() || team.declared;
  fill($("team-rows"), (members ?? []).map((member) => row([
    ["Member", [person(member), member.user_email ? small(member.user_id) : null]],
    ["Role", ROLES[member.role] ?? member.role],
    ["", manages() && !team.declared ? actions(member) : "–"],
  ])), "Nobody is in this team yet");
}

function actions(member) {
  const other = member.role === "admin" ? "user" : "admin";
  const button = (word, listener) => h("button", {
    type: "button", "data-focus": `member ${member.user_id} ${word === "Remove" ? word : "role"}`, "aria-label": `${word} ${person(member)}`, on: { click: listener },
  }, word);
  return h("div", { class: "actions" },
    button(other === "admin" ? "Make admin" : "Make member", () => turn(member, other)), button("Remove", () => remove(member)));
}

function add() {
  const who = h("input", { name: "who", required: true, maxlength: 255, placeholder: "id or e-mail address", autocomplete: "off" });
  const role = h("select", { name: "role" }, ...Object.entries({ user: "Member", admin: "Admin" }).map(([value, name]) => h("option", { value }, name)));
  openDialog({
    title: "Add a member",
    text: "Who is not known yet becomes a user.",
    inputs: [h("label", {}, "User ", who), h("label", {}, "Role ", role)],
    submit: "Add",
  }, async () => {
    const named = who.value.trim();
    const member = { [named.includes("@") ? "user_email" : "user_id"]: named, role: role.value };
    await post("team/member_add", { team_id: id(), member });
    await team.refresh();
    return () => announce(`${named} is added.`);
  });
}

function turn(member, role) {
  const text = role === "admin" ? "An admin manages the team's members and keys, and sees what they spend." : "A member manages its own keys.";
  openDialog({ title: `${role === "admin" ? "Make" : "Keep"} ${person(member)} ${role === "admin" ? "an admin" : "as a member"}?`, text, submit: "Change" }, async () => {
    await post("team/member_update", { team_id: id(), user_id: member.user_id, role });
    await team.refresh();
    return () => announce(`${person(member)} is ${role === "admin" ? "an admin" : "a member"} now.`);
  });
}

function remove(member) {
  openDialog({ title: `Remove ${person(member)}?`, text: "The member's keys in this team are deleted with it.", submit: "Remove", danger: true }, async () => {
    await post("team/member_delete", { team_id: id(), user_id: member.user_id });
    await team.refresh();
    return () => {
      announce(`${person(member)} is removed.`);
      $("add-member").focus();
    };
  });
}

export const team = new Panel("team", () => get("team/info", { team_id: id() }), show);
$("add-member").addEventListener("click", add);

/** Resets the page to its signed-out state. */
export function forgetTeam() {
  $("team-facts").replaceChildren();
  $("team-title").textContent = "Team";
}
