// Who is signed in: whoever has the master key, or a person with a role.

let person = null;

/** { by: "key" or "session", role: "operator", "team_admin" or "member", user_id, name, teams, reads_only } */
export const who = () => person ?? { by: "key", role: "operator", teams: [], reads_only: false };

export const isOperator = () => who().role === "operator";

export function signedInAs(user) {
  person = user && { by: "session", ...user };
}
