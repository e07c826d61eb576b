// Finished requests, newest first, by page, with filters for key, model and status.

import { get } from "./api.js";
import { $, Panel, badge, fill, h, row } from "./dom.js";
import { count, duration, time, usd } from "./format.js";

const SIZE = 25;
const filters = { key: $("filter-key"), model: $("filter-model"), status: $("filter-status") };
let pages = [""]; // the cursors of the pages visited so far

async function load() {
  const wanted = Object.fromEntries(Object.entries(filters).map(([name, field]) => [name, field.value]));
  const [found, spent] = await Promise.all([
    get("spend/logs", { ...wanted, size: String(SIZE), after: pages.at(-1) }),
    get("spend/keys", { size: "200" }),
  ]);
  return { ...found, spent };
}

function status(line) {
  if (line.status === null) return [badge("No report", "warn"), h("small", {}, "charged in full")];
  if (line.status >= 500) return badge(String(line.status), "bad");
  return badge(String(line.status), line.status >= 400 ? "warn" : "good");
}

function model(line) {
  const other = line.answered_by && line.answered_by !== line.model ? h("small", {}, `answered by ${line.answered_by}`) : null;
  return [h("span", {}, line.model), other];
}

function show({ data, next, spent }) {
  options(filters.key, [["master", "master key"], ...spent.data.map((key) => [key.key_id, key.key_alias ?? key.key_name ?? key.key_id])]);
  const filtered = Object.values(filters).some((field) => field.value);
  fill($("requests-rows"), data.map((line) => row([
    ["Time", h("time", { datetime: line.startTime, title: line.request_id }, time(line.startTime))],
    ["Key", line.key_alias ?? (line.key_id === "master" ? "master key" : line.key_id)],
    ["Model", model(line)],
    ["Status", status(line)],
    ["Tokens", `${count(line.prompt_tokens)} / ${count(line.completion_tokens)}`, "number"],
    ["Cost", usd(line.spend), "number"],
    ["Took", duration(line.latency_ms === null ? null : line.latency_ms / 1000), "number"],
  ])), filtered ? "No requests like this" : "No requests yet");
  const turn = $("requests-pages");
  turn.hidden = pages.length === 1 && !next;
  turn.dataset.next = next ?? "";
  turn.children[0].disabled = pages.length === 1;
  turn.children[1].textContent = `Page ${pages.length}`;
  turn.children[2].disabled = !next;
}

/** Updates a select's options and keeps the selection. */
function options(select, choices) {
  const before = select.value;
  const all = [["", "all"], ...choices];
  if (before && !all.some(([value]) => value === before)) all.push([before, before]);
  select.replaceChildren(...all.map(([value, name]) => h("option", { value }, name)));
  select.value = before;
}

export const requests = new Panel("requests", load, show);
addEventListener("models", (event) => options(filters.model, event.detail.filter((name) => !name.includes("*")).map((name) => [name, name])));
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("change", () => {
  pages = [""];
  requests.refresh();
});
$("requests-pages").addEventListener("click", (event) => {
  if (event.target.value === "back") pages.pop();
  else if (event.target.value === "on") pages.push(event.currentTarget.dataset.next);
  else return;
  requests.refresh();
});

/** Resets the page to its signed-out state. */
export function forgetRequests() {
  pages = [""];
  $("filters").reset();
}
