// Today's spending, and the budget: everyone's for an operator, the person's own otherwise.

import { get } from "./api.js";
import { $, Panel, meter } from "./dom.js";
import { count, each, until, usd } from "./format.js";
import { effective } from "./limits.js";
import { may } from "./session.js";

async function load() {
  const today = new Date().toISOString().slice(0, 10);
  const [everything, activity] = await Promise.all([
    may.operate() ? get("global/spend") : get("user/info").then((found) => effective(found.user_info)),
    get("spend/activity", { from: today, bucket: "hour", group_by: "model" }),
  ]);
  return { everything, lines: activity.data };
}

function show({ everything, lines }) {
  const sum = (name) => lines.reduce((total, line) => total + line[name], 0);
  const [requests, failures] = [sum("requests"), sum("failures")];
  $("spend-today").textContent = usd(sum("spend"));
  const { max_budget, spend, budget_duration: length, budget_reset_at: reset } = everything;
  const most = max_budget ?? null;
  const used = spend + everything.reserved;
  $("budget-meter").hidden = most === null;
  if (most === null) {
    $("budget").textContent = may.operate() ? "No global budget is set" : "You have no budget of your own";
  } else {
    meter($("budget-meter"), most ? used / most : 1, may.operate() ? "Global budget used" : "Your budget used");
    $("budget").textContent = `${usd(used)} of ${usd(most)}${each(length)}${reset ? `, resets in ${until(reset)}` : ""}`;
  }
  $("requests-today").textContent = count(requests);
  const share = requests ? (100 * failures) / requests : 0;
  $("failures-today").textContent = failures ? `${count(failures)} failed (${share.toFixed(1)} %)` : "None failed";
  $("tokens-today").textContent = count(sum("prompt_tokens") + sum("completion_tokens"));
  $("tokens-detail").textContent = `${count(sum("prompt_tokens"))} in, ${count(sum("completion_tokens"))} out`;
  $("running").textContent = count(everything.running_requests);
  $("reserved").textContent = `${usd(everything.reserved)} reserved`;
}

export const overview = new Panel("overview", load, show);
