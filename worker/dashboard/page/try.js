// A real request to a model: the answer as it streams, then what the ledger says of it.

import { chat, get } from "./api.js";
import { $, Panel, h, link } from "./dom.js";
import { duration } from "./format.js";
import { lineOf } from "./request.js";
import { to } from "./route.js";
import { who } from "./session.js";

const LOOKS = 8; // for the line in the ledger, which at the edge is written a moment after the answer
const form = $("try-form");
const stop = $("try-stop");
let running = null;

/** The models' names are known from elsewhere: see `models`. */
export const tryIt = new Panel("try", async () => {}, () => {
  const person = who().by === "session";
  form.elements.key.required = person;
  form.elements.key.placeholder = person ? "sk-…" : "";
  $("try-key-note").textContent = person ? "The secret of one of your keys" : "A key's secret. Empty: the key that you signed in with";
});

async function send(event) {
  event.preventDefault();
  const { model, key, prompt, max_tokens: most, stream } = form.elements;
  const body = {
    model: model.value.trim(),
    messages: [{ role: "user", content: prompt.value }],
    stream: stream.checked,
    ...(most.value && { max_tokens: Number(most.value) }),
  };
  running?.abort();
  const mine = running = new AbortController();
  const began = performance.now();
  begin();
  let answer = null;
  try {
    answer = await chat(body, key.value.trim(), mine.signal, (text) => $("try-answer").append(text));
    said(`Answered in ${duration((performance.now() - began) / 1000)}.`);
  } catch (error) {
    if (mine !== running) return;
    answer = error.answer ?? null;
    if (error.name === "AbortError") said("Stopped.");
    else $("try-error").textContent = error.status === undefined ? "The gateway cannot be reached, or the answer broke off." : error.message;
  } finally {
    if (mine === running) stop.hidden = true;
  }
  if (mine === running && answer) await look(answer, mine.signal);
}

function begin() {
  $("try-result").hidden = false;
  $("try-answer").replaceChildren();
  $("try-line").replaceChildren();
  $("try-error").textContent = "";
  said("Waiting for the answer …");
  stop.hidden = false;
}

const said = (text) => { $("try-state").textContent = text; };

/** Shows the request's line in the ledger. A refused request has none. */
async function look(answer, signal) {
  const id = answer.headers.get("x-request-id");
  if (!id) return;
  if (!answer.ok) said(`The status is ${answer.status}.`);
  for (let looked = 0; looked < LOOKS && !signal.aborted; looked += 1) {
    const { data } = await get("spend/logs", { request_id: id, size: "1" }).catch(() => ({ data: [] }));
    if (data.length) {
      if (!signal.aborted) $("try-line").replaceChildren(...lineOf(data[0]), link(to("request", id), "This request's page"));
      return;
    }
    await new Promise((later) => setTimeout(later, 150 * 2 ** Math.min(looked, 4)));
  }
  if (!signal.aborted) $("try-line").replaceChildren(h("p", { class: "note" }, answer.ok ? "The ledger does not have it yet." : "It was refused before it reached a model, and cost nothing."));
}

form.addEventListener("submit", send);
stop.addEventListener("click", () => running?.abort());
addEventListener("models", (event) => {
  $("try-models").replaceChildren(...event.detail.filter((name) => !name.includes("*")).map((value) => h("option", { value })));
});

/** Resets the page to its signed-out state. */
export function forgetTry() {
  running?.abort();
  running = null;
  form.reset();
  $("try-result").hidden = true;
  $("try-answer").replaceChildren();
  $("try-line").replaceChildren();
}
