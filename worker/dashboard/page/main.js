// Signs in and out, shows the view that the address names, and refreshes it.

import { ACCOUNTS, accounts, accountsOf, forgetAccounts } from "./accounts.js";
import { activity, forgetActivity } from "./activity.js";
import { get, post, signIn, signOut, signedIn } from "./api.js";
import { closeDialogs } from "./dialog.js";
import { $, announce } from "./dom.js";
import { clock } from "./format.js";
import { forgetKeys, keys, keysOf } from "./keys.js";
import { models } from "./models.js";
import { overview } from "./overview.js";
import { forgetRequest, request } from "./request.js";
import { forgetRequests, requests, requestsOf } from "./requests.js";
import { here } from "./route.js";
import { forgetPerson, may, recall, who } from "./session.js";
import { forgetTeam, team } from "./team.js";
import { forgetTry, tryIt } from "./try.js";

const EVERY = 30_000;
const VIEWS = {
  overview: [overview, activity, models],
  keys: [keys],
  accounts: [accounts],
  team: [team],
  requests: [models, requests],
  request: [models, request],
  try: [models, tryIt],
};
// Tables are not refreshed automatically, so that they do not change while being read.
const ALIVE = [overview, activity, models];
const panels = new Set(Object.values(VIEWS).flat());
let shown = "overview";

async function refresh(which = VIEWS[shown]) {
  await Promise.all(which.map((panel) => panel.refresh()));
  if (signedIn()) $("updated").textContent = `Updated ${clock(new Date())}`;
}

/** Shows the view that the address names. */
function turn() {
  const { view } = here();
  shown = ACCOUNTS.includes(view) ? "accounts" : VIEWS[view] ? view : "overview";
  ({ accounts: accountsOf, keys: keysOf, requests: requestsOf })[shown]?.();
  for (const name of Object.keys(VIEWS)) $(`view-${name}`).hidden = name !== shown;
  const current = { request: "requests", accounts: "teams", team: "teams" }[shown] ?? shown;
  for (const anchor of document.querySelectorAll(".top nav a")) {
    if (anchor.hash === `#/${current}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = `${$(`view-${shown}`).querySelector("h2").textContent} · LiteLLM Router`;
  scrollTo({ top: 0, behavior: "instant" });
}

async function enter(event) {
  event.preventDefault();
  const field = $("master-key");
  const button = event.target.querySelector("button");
  $("sign-in-error").textContent = "";
  button.disabled = true;
  signIn(field.value.trim());
  try {
    await get("global/spend");
  } catch (error) {
    signOut();
    $("sign-in-error").textContent = error.message;
    field.focus();
    return;
  } finally {
    button.disabled = false;
  }
  field.value = "";
  await open();
}

/** Shows the page to a person who has a session, and otherwise how to sign in. */
async function begin() {
  const failed = new URL(location.href).searchParams.get("sign_in_error");
  if (failed) history.replaceState(null, "", location.pathname + location.hash);
  let found;
  try {
    found = await recall(failed);
  } catch {
    return; // The form for the master key says what is wrong.
  }
  $("sign-in-person").hidden = !found.sign_in;
  if (found.user) {
    signIn();
    await open();
  } else if (failed) {
    $("sign-in-error").textContent = found.error ?? "The sign-in has failed.";
  }
}

/** Comes back to the view that was asked for. The browser sends no fragment to the gateway. */
function rememberView() {
  const back = encodeURIComponent(`/dashboard${location.hash}`);
  $("sign-in-link").href = `dashboard/sign-in?return=${back}`;
}

async function end() {
  const ended = who().by === "session" && (await post("dashboard/sign-out", {}).catch((error) => announce(error.message)));
  leave();
  if (ended?.continue_at) location.assign(ended.continue_at); // the provider signs the person out there, too
}

async function open() {
  $("sign-in").hidden = true;
  $("app").hidden = false;
  $("person").textContent = who().by === "session" ? who().name || who().user_id : "";
  for (const element of document.querySelectorAll("[data-for=operator]")) element.hidden = !may.operate();
  $("create-key").hidden = !may.write();
  $("nav-accounts").textContent = may.operate() ? "Accounts" : "Teams";
  turn();
  $("main").focus({ preventScroll: true });
  await refresh();
}

/** Forgets the key and everything shown with it. */
function leave(message = "") {
  if (!signedIn()) return;
  signOut();
  forgetPerson();
  closeDialogs();
  for (const forget of [forgetAccounts, forgetActivity, forgetKeys, forgetRequest, forgetRequests, forgetTeam, forgetTry]) forget();
  for (const panel of panels) panel.forget();
  for (const body of document.querySelectorAll("#app tbody")) body.replaceChildren();
  $("app").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-error").textContent = message;
  $("master-key").focus();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // The address says which view is shown.
  ($("app").hidden ? $("master-key") : $("main")).focus();
});
$("sign-in-form").addEventListener("submit", enter);
$("sign-in-link").addEventListener("click", rememberView);
$("sign-out").addEventListener("click", end);
$("refresh").addEventListener("click", async () => {
  await refresh();
  announce("Up to date.");
});
addEventListener("refused", (event) => !$("app").hidden && leave(event.detail));
addEventListener("pagehide", () => leave());
addEventListener("pageshow", (event) => event.persisted && begin());
addEventListener("hashchange", () => {
  if (!signedIn() || $("app").hidden) return;
  turn();
  $("main").focus({ preventScroll: true });
  refresh();
});
setInterval(() => {
  if (signedIn() && !document.hidden && !$("app").hidden) refresh(VIEWS[shown].filter((panel) => ALIVE.includes(panel)));
}, EVERY);
begin();
