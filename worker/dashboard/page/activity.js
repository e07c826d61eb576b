// Spend and requests over time, by model, key, team, user, end user or tag.

import { get } from "./api.js";
import { Bars } from "./chart.js";
import { $, Panel, h } from "./dom.js";
import { bucketName, count, timeMark, usd, usdMark } from "./format.js";

const HOUR = 3600, DAY = 24 * HOUR;
const RANGES = { "24h": ["hour", 24], "7d": ["day", 7], "30d": ["day", 30], "90d": ["day", 90] };
const SHOWN = 7;
const charts = {
  spend: new Bars($("spend-chart"), $("spend-legend"), $("spend-at"), usd, usdMark, 0),
  requests: new Bars($("requests-chart"), $("requests-legend"), $("requests-at"), count, count, 1),
};
const range = () => document.querySelector("#activity input[name=range]:checked").value;
const group = () => document.querySelector("#activity select[name=group]").value;

async function load() {
  const [bucket, buckets] = RANGES[range()];
  const length = bucket === "hour" ? HOUR : DAY;
  const last = Math.floor(Date.now() / 1000 / length) * length;
  const from = last - (buckets - 1) * length;
  const found = await get("spend/activity", { from: String(from), bucket, group_by: group() });
  return { found, bucket, length, starts: Array.from({ length: buckets }, (_, at) => from + at * length) };
}

/** The groups that have a color, with all others combined. */
function groupsOf(found, starts) {
  const place = new Map(starts.map((start, at) => [start, at]));
  const names = found.groups.slice(0, SHOWN).map(({ group, name }) => [group, name]);
  const groups = new Map(names.map(([group, name]) => [group, { name, spend: starts.map(() => 0), requests: starts.map(() => 0) }]));
  const others = { name: "all others", spend: starts.map(() => 0), requests: starts.map(() => 0) };
  let any = false;
  for (const line of found.data) {
    const at = place.get(Date.parse(line.start) / 1000);
    if (at === undefined) continue;
    const group = (line.group !== null && groups.get(line.group)) || others;
    any ||= group === others;
    group.spend[at] += line.spend;
    group.requests[at] += line.requests;
  }
  return [...groups.values(), ...(any ? [others] : [])];
}

function show({ found, bucket, length, starts }) {
  const groups = groupsOf(found, starts);
  const name = (at) => bucketName(new Date(starts[at] * 1000), bucket);
  for (const [what, chart] of Object.entries(charts)) {
    const parts = groups.map((group) => ({ name: group.name, values: group[what] }));
    const said = parts.map((part) => `${part.name} ${chart.format(part.values.reduce((sum, value) => sum + value, 0))}`);
    const label = `${what === "spend" ? "Spend" : "Requests"} by ${found.group_by.replace("_", " ")}: ${said.join(", ") || "none"}. The values stand in the table below.`;
    const mark = (date) => timeMark(date, bucket);
    chart.draw({ starts, length, utc: bucket === "day", groups: parts, name, mark, label, blank: "No requests in this time" });
  }
  const part = Date.parse(found.complete_from) > Date.parse(found.from);
  $("activity-note").textContent = part ? `So many requests that only those since ${new Date(found.complete_from).toLocaleString()} are counted.` : "";
  $("activity-table").querySelector(".scroll").replaceChildren(table(groups, starts.map((_, at) => name(at))));
}

function table(groups, names) {
  const cell = (group, at) => h("td", { class: "number" }, `${usd(group.spend[at])} / ${count(group.requests[at])}`);
  const used = names.map((_, at) => at).filter((at) => groups.some((group) => group.requests[at]));
  const head = h("tr", {}, h("th", { scope: "col" }, "Time"), ...groups.map((group) => h("th", { scope: "col", class: "number" }, group.name)));
  const rows = used.reverse().map((at) => h("tr", {}, h("th", { scope: "row" }, names[at]), ...groups.map((group) => cell(group, at))));
  const caption = h("caption", { class: "hidden" }, "Spend and requests");
  return rows.length ? h("table", {}, caption, h("thead", {}, head), h("tbody", {}, ...rows)) : h("p", { class: "note" }, "No requests in this time");
}

/** Resets the page to its signed-out state. */
export function forgetActivity() {
  for (const chart of Object.values(charts)) chart.clear();
  $("activity-table").querySelector(".scroll").replaceChildren();
}

export const activity = new Panel("activity", load, show);
$("activity").addEventListener("change", () => activity.refresh());
