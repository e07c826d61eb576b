// Finished requests, newest first, by page, with filters for key, model, status, owners and request id.

import { get } from "./api.js";
import { $, Pager, Panel, badge, fill, h, link, row, small, typed } from "./dom.js";
import { count, duration, time, usd } from "./format.js";
import { here, to } from "./route.js";

const SIZE = 25, SUGGESTED = 20;
const filters = $("filters");
const { key: keyField } = filters.elements;
const tokens = new Map(); // of the keys that were suggested, by name
let pages = [""]; // the cursors of the pages visited so far

const load = async () => {
  const wanted = Object.fromEntries([...new FormData(filters)].map(([name, value]) => [name, value.trim()]));
  if (wanted.key && !tokens.has(wanted.key)) await suggest(); // typed in full
  return get("spend/logs", { ...wanted, key: tokens.get(wanted.key) ?? wanted.key, size: String(SIZE), after: pages.at(-1) });
};

export function statusOf(line) {
  if (line.status === null) return [badge("No report", "warn"), small("charged in full")];
  if (line.status >= 500) return [badge(String(line.status), "bad")];
  return [badge(String(line.status), line.status >= 400 ? "warn" : "good")];
}

export const keyOf = (line) => line.key_alias ?? (line.key_id === "master" ? "master key" : line.key_id);

function model(line) {
  const other = line.answered_by && line.answered_by !== line.model ? small(`answered by ${line.answered_by}`) : null;
  return [h("span", {}, line.model), other];
}

function show({ data, next }) {
  const filtered = [...new FormData(filters)].some(([, value]) => value.trim());
  fill($("requests-rows"), data.map((line) => row([
    ["Time", link(to("request", line.request_id), h("time", { datetime: line.startTime, title: line.request_id }, time(line.startTime)))],
    ["Key", keyOf(line)],
    ["Model", model(line)],
    ["Status", statusOf(line)],
    ["Tokens", `${count(line.prompt_tokens)} / ${count(line.completion_tokens)}`, "number"],
    ["Cost", usd(line.spend), "number"],
    ["Took", duration(line.latency_ms === null ? null : line.latency_ms / 1000), "number"],
  ])), filtered ? "No requests like this" : "No requests yet");
  after = next;
  pager.show(pages.length, null, Boolean(next));
}

/** Suggests keys whose name contains what is typed. There may be thousands. */
async function suggest() {
  const { keys } = await get("key/list", { search: keyField.value.trim(), size: String(SUGGESTED), return_full_object: "true" });
  const named = keys.map((key) => [key.key_alias ?? key.key_name, key.token]);
  for (const [name, token] of named) tokens.set(name, token);
  tokens.set("master key", "master");
  $("filter-keys").replaceChildren(...[...named.map(([name]) => name), "master key"].map((value) => h("option", { value })));
}

function find() {
  pages = [""];
  requests.refresh();
}

export const requests = new Panel("requests", load, show);
let after = null;
const pager = new Pager("requests-pages", (step) => {
  if (step < 0) pages.pop();
  else pages.push(after);
  requests.refresh();
});
addEventListener("models", (event) => {
  $("filter-models").replaceChildren(...event.detail.map((value) => h("option", { value })));
});
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("change", find);
// A key is suggested while its name is typed; the request is made when the field is left.
typed(keyField, () => suggest().catch(() => {}));
keyField.addEventListener("focus", () => suggest().catch(() => {}));

/** Takes the filters from the address, if it has any. */
export function requestsOf() {
  const { key, name, ...others } = here().query;
  if (key === undefined && !Object.keys(others).length) return;
  filters.reset();
  if (key && name) tokens.set(name, key);
  for (const [field, value] of Object.entries({ key: name ?? key ?? "", ...others })) if (filters.elements[field]) filters.elements[field].value = value;
  pages = [""];
}

/** Resets the page to its signed-out state. */
export function forgetRequests() {
  pages = [""];
  tokens.clear();
  $("filter-keys").replaceChildren();
  filters.reset();
}
