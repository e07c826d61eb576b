// What a key, a team, a user, an end user or a tag has spent, and what limits it.

import { h, meter, small } from "./dom.js";
import { count, each, usd } from "./format.js";

/** What running requests hold. Most cost less than that in the end. */
const held = ({ reserved, running_requests: running }) => (running ? `${usd(reserved)} held by ${count(running)} running` : null);

/** A cell: what is used of the budget, as a bar, and what was ever spent. */
export function spend(owner, name) {
  const used = owner.spend + (owner.reserved ?? 0);
  const ever = owner.total_spend === undefined ? null : `${usd(owner.total_spend)} ever`;
  const total = small([held(owner), ever].filter(Boolean).join(" · "));
  if (owner.max_budget === null || owner.max_budget === undefined) return [usd(used), total];
  const bar = h("div", { class: "meter" }, h("div"));
  meter(bar, owner.max_budget ? used / owner.max_budget : 1, `Budget used by ${name}`);
  return [`${usd(used)} of ${usd(owner.max_budget)}${each(owner.budget_duration)}`, bar, total];
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
