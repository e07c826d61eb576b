// Calls the admin API. The master key is kept in this module's memory only.

let key = null;
const TIMEOUT = 30_000;

/** An error from the gateway or the network. `signedOut`: the key is no longer valid. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
    this.signedOut = status === 401;
  }
}

/** '' means no key, for a gateway that needs none. */
export function signIn(given) {
  key = given;
}

export function signOut() {
  key = null;
}

export const signedIn = () => key !== null;

export const get = (path, query = {}) => call("GET", path, query);
export const post = (path, body) => call("POST", path, {}, body);

/** `path` has no leading slash, so it is relative to the page. */
async function call(method, path, query, body) {
  const used = key;
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const headers = { ...(used && { authorization: `Bearer ${used}` }), ...(body && { "content-type": "application/json" }) };
  const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store" };
  let answer, text;
  try {
    answer = await fetch(url, { ...options, redirect: "error", signal: AbortSignal.timeout(TIMEOUT) });
    text = await answer.text();
  } catch (error) {
    throw new Refused(error.name === "TimeoutError" ? "No answer within 30 s." : "The gateway cannot be reached.", 0);
  }
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Refused(`The answer (${answer.status}) is no JSON: something else stands before the gateway.`, answer.status);
  }
  if (answer.ok) return found;
  const refused = new Refused(found?.error?.message ?? `The gateway answered ${answer.status}.`, answer.status);
  if (refused.signedOut && used === key) dispatchEvent(new CustomEvent("refused", { detail: refused.message }));
  throw refused;
}
