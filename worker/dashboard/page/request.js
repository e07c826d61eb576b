// One request: everything that the ledger knows about it.

import { get } from "./api.js";
import { $, Panel, facts, h, link } from "./dom.js";
import { count, duration, time, usd } from "./format.js";
import { deployments } from "./models.js";
import { keyOf, statusOf } from "./requests.js";
import { here, to } from "./route.js";

const seconds = (ms) => (ms === null ? null : duration(ms / 1000));

const STATES = { expired: "It ended without a report, so the whole reservation is charged until one arrives." };

/** The name of a deployment, and its id. */
const deployment = (id) => id && [deployments.get(id) ?? id, deployments.has(id) ? h("small", {}, id) : null].filter(Boolean);

/** A spend line as names and values, and its attempts. */
export function lineOf(line) {
  const answered = line.answered_by && line.answered_by !== line.model;
  return [
    h("dl", { class: "facts" }, ...facts([
      ["Status", [...statusOf(line), STATES[line.state] ? h("small", {}, STATES[line.state]) : null].filter(Boolean)],
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
      ["Team", line.team_id],
      ["End user", line.end_user],
      ["Tags", line.request_tags.join(", ")],
      ["Endpoint", line.endpoint],
      ["Began", h("time", { datetime: line.startTime, title: line.startTime }, time(line.startTime))],
      ["Ended", line.endTime && h("time", { datetime: line.endTime, title: line.endTime }, time(line.endTime))],
      ["Request id", h("code", {}, line.request_id)],
    ])),
  ];
}

function show({ data }) {
  const several = data.length > 1 ? [h("p", { class: "note" }, `The client used this id for ${data.length} requests.`)] : [];
  const none = h("p", { class: "empty" }, "The ledger has no finished request with this id: it still runs, or its line is older than what is kept.");
  $("request-lines").replaceChildren(...(data.length ? [...several, ...data.flatMap(lineOf)] : [none]));
}

export const request = new Panel("request", () => get("spend/logs", { request_id: here().id, size: "20" }), show);

/** Resets the page to its signed-out state. */
export const forgetRequest = () => $("request-lines").replaceChildren();
