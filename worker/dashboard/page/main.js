// Signs in and out, and refreshes the page.

import { activity, forgetActivity } from "./activity.js";
import { get, signIn, signOut, signedIn } from "./api.js";
import { $, announce } from "./dom.js";
import { clock } from "./format.js";
import { forgetKeys, keys } from "./keys.js";
import { models } from "./models.js";
import { overview } from "./overview.js";
import { forgetRequests, requests } from "./requests.js";

const EVERY = 30_000;
const panels = [overview, activity, models, keys, requests];

async function refresh(which = panels) {
  await Promise.all(which.map((panel) => panel.refresh()));
  if (signedIn()) $("updated").textContent = `Updated ${clock(new Date())}`;
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
  $("sign-in").hidden = true;
  $("app").hidden = false;
  scrollTo({ top: 0, behavior: "instant" });
  $("main").focus({ preventScroll: true });
  await refresh();
}

/** Forgets the key and everything shown with it. */
function leave(message = "") {
  if (!signedIn()) return;
  signOut();
  forgetActivity();
  forgetKeys();
  forgetRequests();
  for (const panel of panels) panel.forget();
  for (const body of document.querySelectorAll("#app tbody")) body.replaceChildren();
  $("app").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-error").textContent = message;
  $("master-key").focus();
}

$("sign-in-form").addEventListener("submit", enter);
$("sign-out").addEventListener("click", () => leave());
$("refresh").addEventListener("click", async () => {
  await refresh();
  announce("Up to date.");
});
addEventListener("refused", (event) => !$("app").hidden && leave(event.detail));
addEventListener("pagehide", () => leave());
// Keys and requests are not refreshed automatically, so that their tables do not change while being read.
setInterval(() => signedIn() && !document.hidden && !$("app").hidden && refresh([overview, activity, models]), EVERY);
