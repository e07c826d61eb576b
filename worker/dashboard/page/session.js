// Who is signed in: whoever has the master key, or a person with a role.

import { get } from "./api.js";

let person = null;
let offered = false;

/** What the person may do; the gateway decides it in any case. `write`: change anything; `key`: an existing one. */
export const may = {
  operate: () => who().role === "operator",
  write: () => !who().reads_only,
  block: (key) => may.write() && (may.operate() || administers(key.team_id)),
};

export const administers = (team) => who().teams.some((one) => one.team_id === team && one.role === "admin");

/** { by: "key" or "session", role: "operator", "team_admin" or "member", user_id, name, teams, reads_only } */
export const who = () => person ?? { by: "key", role: "operator", teams: [], reads_only: false };

/** Asks the gateway who is signed in, by the session's cookie. `failed`: the code of a sign-in that failed, if any.
 *  Returns { sign_in, error, user }. */
export async function recall(failed) {
  const found = await get("dashboard/session", { sign_in_error: failed });
  offered = Boolean(found.sign_in);
  person = found.user && { by: "session", ...found.user };
  return found;
}

/** Whether people can sign in with an account of their own. */
export const signsPeopleIn = () => offered;

export function forgetPerson() {
  person = null;
}
