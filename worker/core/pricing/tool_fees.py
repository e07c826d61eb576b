"""Fees for tools that providers run themselves: searches, code containers, pictures.

A provider bills them by the run, besides the tokens. How often a tool will run is not known in advance: the reservation
covers the limit that the request sets (`max_uses`, `max_tool_calls`), else one run, and the response is charged for
what it reports. Agents such as Codex declare these tools with every request and hardly ever use them, so a picture is
reserved only where the request demands one.

https://platform.openai.com/docs/pricing#built-in-tools
https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool#usage-and-pricing
https://ai.google.dev/gemini-api/docs/pricing
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..values.money import is_amount

# How often each tool ran, in the order of names: (("search", 2),).
Runs = tuple[tuple[str, int], ...]

SEARCH, MAPS, FILE_SEARCH, CODE = "search", "maps", "file_search", "code_interpreter"
_PICTURE = "picture_"
_MOST_RUNS = 1000
# US dollars where the price map has no fee. Pictures: the dearest size of each quality.
USUAL_FEES = {
    FILE_SEARCH: 0.0025,
    CODE: 0.03,
    f"{_PICTURE}low": 0.016,
    f"{_PICTURE}medium": 0.063,
    f"{_PICTURE}high": 0.25,
}
# Billed for each request in which it ran, not for each run.
ONCE = "once"
# Models that search for every request.
ALWAYS = "always"
_SEARCHING_MODELS = ("search-preview", "search-api")
_PER_REQUEST = frozenset(("gemini", "vertex_ai", "vertex_ai-language-models"))
# https://docs.x.ai/docs/models#tool-invocation-costs
_XAI_SEARCH = 0.005
_SEARCH_TOOLS = ("web_search", "google_search", "googleSearch", "enterprise_web_search", "enterpriseWebSearch")
_MAPS_TOOLS = ("google_maps", "googleMaps")


def fees(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fees of a model in US dollars by tool. `entry`: of the price map."""
    found: dict[str, Any] = {}
    by_size = entry.get("search_context_cost_per_query")
    search = _of_size(by_size) if isinstance(by_size, Mapping) else by_size
    if not is_amount(search) and entry.get("litellm_provider") == "xai":
        search = _XAI_SEARCH
    for tool, fee in (
        (SEARCH, search),
        (MAPS, entry.get("google_maps_grounding_cost_per_query")),
        (FILE_SEARCH, _each(entry.get("file_search_cost_per_1k_calls"))),
        (CODE, entry.get("code_interpreter_cost_per_session")),
    ):
        if is_amount(fee):
            found[tool] = fee
    return found


def searches(entry: Mapping[str, Any], model: str) -> str | None:
    """Returns how the model's searches are counted: ONCE, ALWAYS, or each of them (None)."""
    if any(part in model for part in _SEARCHING_MODELS):
        return ALWAYS
    per_request = entry.get("litellm_provider") in _PER_REQUEST and "claude" not in model
    return ONCE if per_request and entry.get("web_search_billing_unit") != "per_query" else None


def _of_size(sizes: Mapping[str, Any]) -> Any:
    fees = (sizes.get(f"search_context_size_{size}") for size in ("medium", "high", "low"))
    return next(filter(is_amount, fees), None)


def _each(thousand: Any) -> Any:
    return thousand / 1000 if is_amount(thousand) else None


def asked(body: Mapping[str, Any], tools: Iterable[Any]) -> Runs:
    """Returns how often the tools of a request may run. `tools`: those it declares, without groups."""
    most = body.get("max_tool_calls")
    found: Counter[str] = Counter()
    if body.get("web_search_options") is not None:
        found[SEARCH] += 1
    for tool in tools:
        if not isinstance(tool, Mapping):
            continue
        kind = str(tool.get("type") or next(iter(tool), ""))
        if kind.startswith(_SEARCH_TOOLS):
            found[SEARCH] += _times(tool.get("max_uses"), most)
        elif kind in _MAPS_TOOLS:
            found[MAPS] += _times(None, most)
        elif kind == FILE_SEARCH:
            found[FILE_SEARCH] += _times(None, most)
        elif kind == CODE:
            found[CODE] += 1
        elif kind == "image_generation" and _demanded(body.get("tool_choice"), kind):
            found[_picture(tool)] += 1
    return _runs(found)


def _demanded(choice: Any, kind: str) -> bool:
    return choice == "required" or (isinstance(choice, Mapping) and choice.get("type") == kind)


def of_items(items: Any) -> Runs:
    """Returns which tools ran, by the output of a response of OpenAI's Responses API."""
    found: Counter[str] = Counter()
    containers = set()
    for item in items if isinstance(items, list) else ():
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "web_search_call":
            action = item.get("action")
            # Opening a page that was found, and searching in it, are free.
            found[SEARCH] += not isinstance(action, Mapping) or action.get("type") in (None, "search")
        elif kind == "file_search_call":
            found[FILE_SEARCH] += 1
        elif kind == "code_interpreter_call":
            containers.add(str(item.get("container_id")))
        elif kind == "image_generation_call":
            found[_picture(item)] += 1
    found[CODE] += len(containers)
    return _runs(found)


def of_usage(said: Mapping[str, Any], details: Mapping[str, Any]) -> Runs:
    """Returns which tools ran, by the `usage` of a response. `details`: of its prompt."""
    found: Counter[str] = Counter()
    ours = said.get("tool_runs")
    if isinstance(ours, Mapping):
        found.update({str(tool): _count(ours, tool) for tool in ours})
    claude, xai = said.get("server_tool_use"), said.get("server_side_tool_usage_details")
    found[SEARCH] = max(
        found[SEARCH],
        _count(claude, "web_search_requests"),
        _count(xai, "web_search_calls"),
        _count(details, "web_search_requests"),
        _count(said, "num_search_queries"),
    )
    found[MAPS] = max(found[MAPS], _count(details, "google_maps_grounding_requests"))
    return _runs(found)


def femto(price: Mapping[str, Any], runs: Runs) -> int:
    """Returns what these runs cost in femto-dollars. `price`: as built by `prices.price`."""
    known, counted = price.get("tools", {}), price.get("searches")
    if counted == ALWAYS and not any(tool == SEARCH for tool, _ in runs):
        runs = (*runs, (SEARCH, 1))
    total = 0
    for tool, count in runs:
        fee = known.get(tool)
        if fee is None:
            fee = _USUAL_FEMTO.get(tool, 0)
        total += fee if tool in (SEARCH, MAPS) and counted is not None else count * fee
    return total


_USUAL_FEMTO = {tool: round(fee * 10**15) for tool, fee in USUAL_FEES.items()}


def _times(own: Any, most: Any) -> int:
    for limit in (own, most):
        if type(limit) is int and limit > 0:
            return min(limit, _MOST_RUNS)
    return 1


def _picture(item: Mapping[str, Any]) -> str:
    """An unknown quality costs as much as the highest."""
    name = f"{_PICTURE}{item.get('quality')}"
    return name if name in USUAL_FEES else f"{_PICTURE}high"


def _count(said: Any, name: str) -> int:
    value = said.get(name) if isinstance(said, Mapping) else None
    return value if type(value) is int and 0 < value < 1 << 20 else 0


def _runs(found: Counter[str]) -> Runs:
    return tuple(sorted((tool, count) for tool, count in found.items() if count))
