// Deployments: whether they are on or what to set, their health, latency and cooldowns.

import { get } from "./api.js";
import { $, Panel, badge, fill, h, row } from "./dom.js";
import { count, duration } from "./format.js";

const ASLEEP = {
  sleeping: "The container sleeps until the next request: how deployments are doing is known while it runs",
  unavailable: "No container can be reached: how deployments are doing is not known",
};

/** The names of the deployments' models at their providers, by deployment id. */
export const deployments = new Map();

/** Sorts failing deployments first and those that are off last. */
const rank = ({ on, health }) => (on ? (health && health.state !== "healthy" ? 0 : 1) : 2);

function state({ on, set, health }) {
  if (!on) return [badge("Off"), h("small", {}, "Set ", ...set.flatMap((name, at) => [at ? ", " : "", h("code", {}, name)]))];
  if (!health) return [badge("On")];
  const failed = health.failures_last_minute;
  const said = failed ? h("small", {}, `${count(failed)} failed in the last minute`) : null;
  if (health.state === "cooling") return [badge(`Cooling down, ${Math.ceil(health.cooldown_seconds)} s`, "bad"), said];
  if (health.state === "probing") return [badge("Being tried again", "warn"), said];
  return [badge("Healthy", "good"), said];
}

function show(found) {
  const { data } = found;
  for (const { litellm_params: { model }, model_info: { id } } of data) if (id && model) deployments.set(id, model);
  const on = data.filter((deployment) => deployment.on).length;
  $("models-note").textContent = [`${on} of ${data.length} on`, ASLEEP[found.container]].filter(Boolean).join(". ");
  const sorted = data.map((one, at) => [rank(one), at, one]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  fill($("models-rows"), sorted.map(([, , one]) => {
    const { health } = one;
    return row([
      ["Model", one.model_name],
      ["Deployment", one.litellm_params.model ? [h("span", {}, one.litellm_params.model), h("small", {}, KINDS[one.model_info.kind])] : "–"],
      ["State", state(one)],
      ["First token", duration(health?.seconds_to_first_token), "number"],
      ["Per token", duration(health?.seconds_per_token), "number"],
      ["In flight", health ? count(health.in_flight) : "–", "number"],
      ["This minute", health ? [`${count(health.requests_this_minute)} req`, h("small", {}, `${count(health.tokens_this_minute)} tokens`)] : "–", "number"],
    ]);
  }), "The config has no models");
  dispatchEvent(new CustomEvent("models", { detail: [...new Set(data.map((one) => one.model_name))] }));
}

const KINDS = { direct: "called directly", engine: "through LiteLLM", mock: "answers by itself" };
export const models = new Panel("models", () => get("model/info"), show);
