"""What a response used, for all providers' formats: tokens, and runs of tools that the provider bills besides them.

Searches, code containers and pictures are billed by the run. How often a tool will run is not known in advance: the
reservation covers the limit that the request sets (`max_uses`, `max_tool_calls`), else one run, and the response is
charged for what it reports. Agents such as Codex declare these tools with every request and hardly ever use them, so a
picture is reserved only where the request demands one.

https://platform.openai.com/docs/pricing#built-in-tools
https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool#usage-and-pricing
https://ai.google.dev/gemini-api/docs/pricing
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..values.money import is_amount

# How often each tool ran, in the order of names: (("search", 2),).
Runs = tuple[tuple[str, int], ...]

# The fields of a response without special usage, except for the details.
_OPENAI = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)


# More than any model's window and output combined; a larger total is a mistake.
_MOST_IN_ALL = 1 << 24


class Usage(NamedTuple):
    """Token counts. `prompt` includes `cached` (read from a cache), `cache_write` and `audio_prompt`; `completion`
    includes `reasoning`, `audio_completion` and `image_completion`; `cache_write` includes `cache_write_1h`, which is
    cached for an hour. `runs`: of tools that the provider bills besides the tokens."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    audio_prompt: int = 0
    audio_completion: int = 0
    cache_write_1h: int = 0
    image_completion: int = 0
    runs: Runs = ()


def usage(said: Mapping[str, Any]) -> Usage:
    """Parses the `usage` object of an OpenAI, Anthropic or LiteLLM response. Missing or invalid numbers become 0."""
    if "prompt_tokens" in said:
        prompt = count(said, "prompt_tokens")
        completion = count(said, "completion_tokens")
    else:
        prompt = count(said, "input_tokens")
        completion = count(said, "output_tokens")
    details = (
        _object(said, "prompt_tokens_details")
        or _object(said, "input_tokens_details")
        or _object(said, "input_token_details")  # in OpenAI's transcriptions
    )
    made = _object(said, "completion_tokens_details") or _object(said, "output_tokens_details")
    if said.keys() <= _OPENAI and not (any(details.values()) or any(made.values())):
        return Usage(prompt, completion + (unsaid(said, "total_tokens", prompt + completion) if prompt else 0))
    cached = count(details, "cached_tokens") or cached_elsewhere(said)
    written = (
        count(said, "cache_creation_input_tokens")
        or count(details, "cache_creation_tokens")
        or count(details, "cache_write_tokens")
    )
    if "prompt_tokens" not in said and ("cache_read_input_tokens" in said or "cache_creation_input_tokens" in said):
        # Anthropic's format: `input_tokens` excludes tokens read from or written to the cache.
        prompt += cached + written
    if prompt:
        # xAI counts reasoning separately from the completion, as does Gemini in its OpenAI format. LiteLLM's total
        # includes the results of Google Search, which is billed per search.
        completion += unsaid(said, "total_tokens", prompt + completion + count(details, "tool_use_tokens"))
    cache_write = min(written, max(0, prompt - cached))
    hour = max(
        count(_object(said, "cache_creation"), "ephemeral_1h_input_tokens"),
        count(_object(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens"),
    )
    return Usage(
        prompt,
        completion,
        min(cached, prompt),
        cache_write,
        min(count(made, "reasoning_tokens"), completion),
        min(count(details, "audio_tokens"), prompt),
        min(count(made, "audio_tokens"), completion),
        min(hour, cache_write),
        min(count(made, "image_tokens"), completion),
        _runs_of_usage(said, details),
    )


# Fields for tokens read from a cache, outside the details: Anthropic and compatible servers, DeepSeek, Moonshot and
# SGLang, Mistral and vLLM.
_CACHED = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")


def cached_elsewhere(said: Mapping[str, Any]) -> int:
    """Returns the cached tokens reported in a field other than OpenAI's."""
    return next((found for name in _CACHED if (found := count(said, name))), 0)


def with_details(said: dict[str, Any]) -> dict[str, Any]:
    """Returns an OpenAI-format usage with the cached tokens in the details, where clients look for them, as LiteLLM
    does. Returns `said` itself if there is nothing to add."""
    if said.keys() <= _OPENAI or "prompt_tokens" not in said:
        return said
    details = _object(said, "prompt_tokens_details")
    cached = 0 if count(details, "cached_tokens") else cached_elsewhere(said)
    return {**said, "prompt_tokens_details": {**details, "cached_tokens": cached}} if cached else said


def unsaid(said: Mapping[str, Any], total: str, counted: int) -> int:
    """Returns the tokens in the field `total` beyond those `counted`; 0 if the total is implausible."""
    found = count(said, total)
    return found - counted if counted < found <= _MOST_IN_ALL else 0


def whole(said: Mapping[str, Any]) -> bool:
    """Whether the usage has both prompt and completion tokens. A prompt is never empty. A completion may be, and
    without one (embeddings) the total equals the prompt."""
    into, out = ("prompt_tokens", "completion_tokens") if "prompt_tokens" in said else ("input_tokens", "output_tokens")
    prompt = count(said, into)
    if not (prompt or count(said, "cache_read_input_tokens") or count(said, "cache_creation_input_tokens")):
        return False
    answer = said.get(out)
    return (type(answer) is int and answer == 0) or count(said, out) > 0 or count(said, "total_tokens") == prompt


def _object(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def count(said: Mapping[str, Any], name: str) -> int:
    """Returns a provider's count; 0 if it is missing or not a plausible number."""
    value = said.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < 1 << 40 else 0  # bool is a subclass of int


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


def tool_fees(entry: Mapping[str, Any]) -> dict[str, Any]:
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


def search_counting(entry: Mapping[str, Any], model: str) -> str | None:
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


def runs_asked_for(body: Mapping[str, Any], tools: Iterable[Any]) -> Runs:
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


def runs_of_items(items: Any) -> Runs:
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


def _runs_of_usage(said: Mapping[str, Any], details: Mapping[str, Any]) -> Runs:
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


def femto_of_runs(price: Mapping[str, Any], runs: Runs) -> int:
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
