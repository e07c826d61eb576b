// What a key, a team, a user, an end user or a tag has spent, and what limits it.

import { h, meter, small } from "./dom.js";
import { count, each, usd } from "./format.js";

/** What running requests hold. Most cost less than that in the end. */
const held = ({ reserved, running_requests: running }) => (running ? `${usd(reserved)} held by ${count(running)} running` : null);

const LIMITS = ["max_budget", "soft_budget", "budget_duration", "rpm_limit", "tpm_limit", "max_parallel_requests"];

/** With the limits that a shared budget supplies where there are none of its own. */
export function effective(owner) {
  const shared = owner.litellm_budget_table;
  return shared ? { ...owner, ...Object.fromEntries(LIMITS.map((name) => [name, owner[name] ?? shared[name]])) } : owner;
}

/** A cell: what is used of the budget, as a bar, and what was ever spent. */
export function spend(owner, name) {
  const most = owner.max_budget ?? null;
  // A shared budget spends nothing itself, and a member does not see what its team spends.
  if (owner.spend === undefined) return most === null ? "–" : `at most ${usd(most)}${each(owner.budget_duration)}`;
  const used = owner.spend + (owner.reserved ?? 0);
  const ever = owner.total_spend === undefined ? null : `${usd(owner.total_spend)} ever`;
  const total = small([held(owner), ever].filter(Boolean).join(" · "));
  if (most === null) return [usd(used), total];
  const bar = h("div", { class: "meter" }, h("div"));
  meter(bar, most ? used / most : 1, `Budget used by ${name}`);
  return [`${usd(used)} of ${usd(most)}${each(owner.budget_duration)}`, bar, total];
}

/** A cell: the limits by the minute and at the same time. */
export function limits(owner) {
  const said = [];
  const any = (name) => owner[name] !== null && owner[name] !== undefined;
  if (any("rpm_limit")) said.push(`${count(owner.rpm_limit)} requests/min`);
  if (any("tpm_limit")) said.push(`${count(owner.tpm_limit)} tokens/min`);
  if (any("max_parallel_requests")) said.push(`${count(owner.max_parallel_requests)} at once`);
  return said.length ? said.join(", ") : "–";
}
