// Calls the gateway: with the master key, which is kept in this module's memory only, or with the session's cookie, which
// no script can read.

let key = null;
const TIMEOUT = 30_000;
const SESSION = ""; // no key is sent: a session's cookie, or a gateway that needs no key

/** An error from the gateway or the network. `signedOut`: the key or the session is no longer valid. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
    this.signedOut = status === 401;
  }
}

/** '' for a session, or for a gateway that needs no key. */
export function signIn(given = SESSION) {
  key = given;
}

export function signOut() {
  key = null;
}

export const signedIn = () => key !== null;

export const get = (path, query = {}) => call("GET", path, query);
export const post = (path, body) => call("POST", path, {}, body);

const headersOf = (used, body) => ({
  ...(used && { authorization: `Bearer ${used}` }),
  ...(body && { "content-type": "application/json", "x-litellm-router-session": "1" }),
});

/** `path` has no leading slash, so it is relative to the page. */
async function call(method, path, query, body) {
  const used = key;
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const options = { method, headers: headersOf(used, body), body: body && JSON.stringify(body), credentials: used ? "omit" : "same-origin", cache: "no-store" };
  let answer, text;
  try {
    answer = await fetch(url, { ...options, redirect: "error", signal: AbortSignal.timeout(TIMEOUT) });
    text = await answer.text();
  } catch (error) {
    throw new Refused(error.name === "TimeoutError" ? "No answer within 30 s." : "The gateway cannot be reached.", 0);
  }
  if (answer.ok && !text) return null;
  const found = parsed(text, answer.status);
  if (answer.ok) return found;
  const refused = refusal(found, answer.status);
  if (refused.signedOut && used === key) dispatchEvent(new CustomEvent("refused", { detail: refused.message }));
  throw refused;
}

function parsed(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(`The answer (${status}) is no JSON: something else stands before the gateway.`, status);
  }
}

const refusal = (found, status) => new Refused(found?.error?.message ?? `The gateway answered ${status}.`, status);

/** Sends a chat with this key, '' for the one that is signed in. `onText` is called with the text, or with each
 *  part of a stream's. Returns the HTTP response; an error of the gateway has it as `answer`. */
export async function chat(body, given, signal, onText) {
  const used = given || key;
  const options = { method: "POST", headers: headersOf(used, body), body: JSON.stringify(body), credentials: "omit", cache: "no-store" };
  const answer = await fetch(new URL("v1/chat/completions", document.baseURI), { ...options, redirect: "error", signal });
  if (!answer.ok || !body.stream) {
    const found = parsed(await answer.text(), answer.status);
    if (!answer.ok) throw Object.assign(refusal(found, answer.status), { answer });
    onText(found.choices?.[0]?.message?.content ?? "");
    return answer;
  }
  for await (const event of events(answer.body)) {
    if (event === "[DONE]") break;
    const found = parsed(event, answer.status);
    if (found.error) throw Object.assign(refusal(found, answer.status), { answer });
    onText(found.choices?.[0]?.delta?.content ?? "");
  }
  return answer;
}

/** The data of a stream's events. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split(/\r?\n/);
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
    if (done) return;
  }
}
