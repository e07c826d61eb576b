// One request: everything that the ledger knows about it.

import { get } from "./api.js";
import { $, Panel, badge, facts, h, link, row, small } from "./dom.js";
import { count, duration, time, usd } from "./format.js";
import { deployments } from "./models.js";
import { keyOf, statusOf } from "./requests.js";
import { here, to } from "./route.js";

const seconds = (ms) => (ms === null ? null : duration(ms / 1000));

const STATES = { expired: "It ended without a report, so the whole reservation is charged until one arrives." };

/** The name of a deployment, and its id. */
const deployment = (id) => id && [deployments.get(id) ?? id, deployments.has(id) ? small(id) : null].filter(Boolean);

const ERRORS = {
  caller: "the request is invalid", unsupported: "the model cannot do what the request asks for", context_window: "too long for the model",
  content_policy: "refused by the provider's filter", rate_limit: "rate limit", authentication: "the provider refused the gateway's key",
  not_found: "the provider does not know the model", timeout: "timeout", connection: "no connection", server: "the provider failed",
};

/** The attempts in their order: those that failed, then the one whose answer the client got. */
function attempts(line) {
  const last = { model: line.answered_by, deployment: line.deployment, status: line.status, seconds: null };
  const all = [...line.attempts, ...(line.answered_by && line.status < 400 ? [last] : [])];
  if (!all.length) return null;
  const lines = all.map((one, at) => row([
    ["Attempt", String(at + 1)],
    ["Model", one.model],
    ["Deployment", deployment(one.deployment)],
    ["Result", one.error ? [badge(one.status ? String(one.status) : "Failed", "bad"), small(ERRORS[one.error] ?? one.error)] : badge("Answered", "good")],
    ["Took", duration(one.seconds), "number"],
  ]));
  const head = ["Attempt", "Model", "Deployment", "Result", "Took"].map((name) => h("th", { scope: "col", role: "columnheader", class: name === "Took" && "number" }, name));
  return h("table", { class: "rows", role: "table" }, h("caption", {}, "Attempts"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...head)), h("tbody", { role: "rowgroup" }, ...lines));
}

/** A spend line as names and values, and its attempts. */
export function lineOf(line) {
  const answered = line.answered_by && line.answered_by !== line.model;
  return [
    h("dl", { class: "facts" }, ...facts([
      ["Status", [...statusOf(line), STATES[line.state] ? small(STATES[line.state]) : null].filter(Boolean)],
      ["Cost", `${usd(line.spend)}${line.estimated ? ", estimated: the provider reported no usage" : ""}`],
      ["Model", line.model],
      ["Answered by", answered ? `${line.answered_by}, a fallback` : line.answered_by],
      ["Deployment", deployment(line.deployment)],
      ["Took", seconds(line.latency_ms)],
      ["Tokens in", line.cached_tokens ? `${count(line.prompt_tokens)}, of them ${count(line.cached_tokens)} cached` : count(line.prompt_tokens)],
      ["Tokens out", line.reasoning_tokens ? `${count(line.completion_tokens)}, of them ${count(line.reasoning_tokens)} reasoning` : count(line.completion_tokens)],
      ["Reserved before", usd(line.reserved)],
      ["Key", link(to("requests", "", { key: line.key_id, name: keyOf(line) }), keyOf(line))],
      ["User", line.user_id],
      ["Team", line.team_id && link(to("team", line.team_id), line.team_id)],
      ["End user", line.end_user],
      ["Tags", line.request_tags.join(", ")],
      ["Endpoint", line.endpoint],
      ["Began", h("time", { datetime: line.startTime, title: line.startTime }, time(line.startTime))],
      ["Ended", line.endTime && h("time", { datetime: line.endTime, title: line.endTime }, time(line.endTime))],
      ["Request id", h("code", {}, line.request_id)],
    ])),
    attempts(line),
  ].filter(Boolean);
}

function show({ data }) {
  const several = data.length > 1 ? [h("p", { class: "note" }, `The client used this id for ${data.length} requests.`)] : [];
  const none = h("p", { class: "empty" }, "The ledger has no finished request with this id: it still runs, or its line is older than what is kept.");
  $("request-lines").replaceChildren(...(data.length ? [...several, ...data.flatMap(lineOf)] : [none]));
}

export const request = new Panel("request", () => get("spend/logs", { request_id: here().id, size: "20" }), show);

/** Resets the page to its signed-out state. */
export const forgetRequest = () => $("request-lines").replaceChildren();
