"""A deployment's prices as integers that fit into JSON, the cost of a usage, and how each endpoint is billed: by the
token, by the piece, or not at all.

Prices are in femto-dollars (10⁻¹⁵ USD) per unit. That is fine enough for all known prices, and a price of a whole
dollar still fits into a JavaScript number. A cost is rounded up to nano-dollars once, at the end.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING, Any, NamedTuple

from ..values.money import MAX_NANO, exact, is_amount
from .estimate import LARGEST

if TYPE_CHECKING:
    from .usage import Runs, Usage

Price = dict[str, Any]
FEMTO_PER_NANO = 1_000_000
_FEMTO = 10**15

# Units, with their names in LiteLLM's price map and in `model_info`.
_UNITS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
_FLAT = {
    "image": ("output_cost_per_image", "input_cost_per_image"),
    "query": ("input_cost_per_query",),
    "character": ("input_cost_per_character",),
    "second": ("input_cost_per_second", "output_cost_per_second"),
}
_DEARER_TIERS = ("priority", "fast", "ultrafast")
# Tiers that cost the standard price, or less if the provider decides so, which is unknown in advance.
_PLAIN_TIERS = frozenset(("auto", "default", "standard", "standard_only", "scale", "flex", "batch"))
_ABOVE = re.compile(r"input_cost_per_token_above_([0-9]+)k_tokens")
# Modes whose responses are not billed by the token.
_INPUT_ONLY = frozenset(("embedding", "rerank", "moderation"))

# The maximum tokens per image. Gemini's and Claude's largest images stay below the first value. gpt-4o-mini counts each
# tile 33 times (2,833 + 8 × 5,667), which makes an image cost the same as with gpt-4o.
IMAGE_TOKENS = 8_192
_IMAGE_TOKENS = (("gpt-4o-mini", 48_169),)


def price(entry: Mapping[str, Any], model: str = "") -> Price | None:
    """Builds prices from everything known about a model: the price map's entry, overridden by the config's
    `model_info`. Returns None if it has no price.

    {"input", "output", …: femto-dollars, "priority", …: {…}, "above": [[tokens, {…, "priority", …: {…}}]],
     "max_input", "max_output", "image_tokens": tokens, "tools": {tool: femto-dollars},
     "searches": `usage.ONCE` or `ALWAYS`}

    Callers that know the model add "tokenizer" and "min_output", the lowest output limit that it accepts.
    """
    result: Price = {unit: _femto(entry[name]) for unit, name in _UNITS.items() if is_amount(entry.get(name))}
    for unit, names in _FLAT.items():
        found = [_femto(entry[name]) for name in names if is_amount(entry.get(name))]
        if found:
            result[unit] = max(found)
    if "output" not in result and entry.get("mode") in _INPUT_ONLY:
        result["output"] = 0
    if not ("input" in result and "output" in result) and not any(unit in result for unit in _FLAT):
        return None
    thresholds = sorted({int(m[1]) for m in map(_ABOVE.fullmatch, entry) if m})
    tiers = {tier: _variant(entry, f"_{tier}") for tier in _DEARER_TIERS}
    result.update((tier, found) for tier, found in tiers.items() if found)
    result["above"] = [[k * 1000, _above(entry, f"_above_{k}k_tokens", tiers)] for k in thresholds]
    for limit, name in (("max_input", "max_input_tokens"), ("max_output", "max_output_tokens")):
        value = entry.get(name)
        if isinstance(value, int) and value > 0:
            result[limit] = value
    result["image_tokens"] = image_tokens(entry, model)
    from .usage import search_counting, tool_fees  # not at the edge, which starts sooner without them

    fees = tool_fees(entry)
    if fees:
        result["tools"] = {tool: _femto(fee) for tool, fee in fees.items()}
        searches = search_counting(entry, model)
        if searches:
            result["searches"] = searches
    return result


def image_tokens(entry: Mapping[str, Any], model: str) -> int:
    """Returns the most tokens that an image counts as. `entry` is as in `price`."""
    ceiling = entry.get("max_image_tokens")
    if isinstance(ceiling, int) and ceiling > 0:
        return ceiling
    return next((tokens for part, tokens in _IMAGE_TOKENS if part in model), IMAGE_TOKENS)


def tokenizer(price: Price | None) -> str:
    """Returns the tokenizer for a deployment's estimates, a name in `estimate.WEIGHTS`."""
    return LARGEST if price is None else price.get("tokenizer", LARGEST)


def at(price: Price, prompt_tokens: int, tier: Any = None) -> Price:
    """Returns the prices for a prompt of this size and a service tier.

    `tier`: the value in the request, not validated. If the tier or the model's price for it is unknown, the highest
    price of any tier applies.
    """
    if tier is None:
        return _at(price, prompt_tokens)
    if isinstance(tier, str):
        if tier in _DEARER_TIERS and tier in price:
            return _at(price, prompt_tokens, tier)
        if tier in _PLAIN_TIERS:
            return _at(price, prompt_tokens)
    result = {**_at(price, prompt_tokens)}
    for name in _DEARER_TIERS:
        if name in price:
            now = _at(price, prompt_tokens, name)
            result.update((unit, max(now[unit], result.get(unit, 0))) for unit in _UNITS if unit in now)
    return result


def cost(
    price: Price,
    used: "Usage",
    tier: Any = None,
    units: Mapping[str, int] | None = None,
) -> int:
    """Returns nano-dollars, rounded up. A unit without a price of its own costs the price of its kind.

    `tier`: the service tier that the request asks for. `units`: quantities other than tokens: {"image" | "query" |
    "character" | "second": count}.
    """
    now = at(price, used.prompt, tier)
    into, out = now.get("input", 0), now.get("output", 0)
    prompt, completion, *special = used
    if any(special):
        plain = max(0, prompt - used.cached - used.cache_write - used.audio_prompt)
        spoken = max(0, completion - used.reasoning - used.audio_completion - used.image_completion)
        total = plain * into + used.cached * now.get("cached", into)
        total += (used.cache_write - used.cache_write_1h) * now.get("cache_write", into)
        total += used.cache_write_1h * now.get("cache_write_1h", 2 * into)
        total += used.audio_prompt * now.get("audio_input", into)
        total += spoken * out + used.reasoning * now.get("reasoning", out)
        total += used.audio_completion * now.get("audio_output", out)
        # Images that are billed per image are not billed by their tokens as well.
        total += used.image_completion * (out if units and "image" in units else now.get("image_output", out))
    else:
        total = prompt * into + completion * out
    if units:
        total += flat(now, units)
    if used.runs or "searches" in price:
        total += fees_of_runs(price, used.runs)
    return min(MAX_NANO, nano(total))


def flat(price: Price, units: Mapping[str, int]) -> int:
    """Returns femto-dollars for units other than tokens."""
    return sum(count * price.get(unit, 0) for unit, count in units.items())


def fees_of_runs(price: Price, runs: "Runs") -> int:
    """Returns what these runs of the provider's tools cost in femto-dollars."""
    from .usage import femto_of_runs

    return femto_of_runs(price, runs)


def nano(femto: int) -> int:
    """Converts femto-dollars to nano-dollars, rounded up."""
    return -(-femto // FEMTO_PER_NANO)


def _at(price: Price, prompt_tokens: int, tier: str = "") -> Price:
    result = {**price, **price[tier]} if tier else price
    for threshold, prices in price.get("above", ()):
        if prompt_tokens > threshold:
            result = {**result, **prices, **prices.get(tier, {})}
    return result


def _above(entry: Mapping[str, Any], suffix: str, tiers: Mapping[str, Price]) -> Price:
    """Returns the prices of long prompts for each service tier. If the map has none, the higher of both applies."""
    found = _variant(entry, suffix)
    result = {**found}
    for tier, prices in tiers.items():
        if prices:
            dearer = {unit: max(value, prices[unit]) for unit, value in found.items() if unit in prices}
            result[tier] = {**dearer, **_variant(entry, f"{suffix}_{tier}")}
    return result


def _variant(entry: Mapping[str, Any], suffix: str) -> Price:
    """Returns the prices with this name suffix. Writing a one-hour cache costs twice the input by default."""
    named = {unit: entry.get(name + suffix) for unit, name in _UNITS.items()}
    found = {unit: _femto(value) for unit, value in named.items() if value is not None and is_amount(value)}
    if "input" in found and _UNITS["cache_write_1h"] in entry:
        found.setdefault("cache_write_1h", 2 * found["input"])
    return found


def _femto(usd: int | float) -> int:
    return int((exact(usd) * _FEMTO).to_integral_value(ROUND_CEILING))


# The endpoints of Gemini's API that take a body.
GOOGLES_CHATS = frozenset(("generate_content", "stream_generate_content"))
GOOGLES_EMBEDDINGS = frozenset(("embed_content", "batch_embed_contents"))
GOOGLES_COUNT = "google_count_tokens"
GOOGLE = GOOGLES_CHATS | GOOGLES_EMBEDDINGS | {GOOGLES_COUNT}
# The names of the output limit in OpenAI's completions.
ANY_LIMIT = ("max_completion_tokens", "max_tokens")
_PICTURES = ("image_generation", "image_edit", "image_variation")
# The fields that limit the output on endpoints billed by the token. Other names have no effect there.
_LIMITS = {
    "chat_completions": ANY_LIMIT,
    "completions": ANY_LIMIT,
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    **dict.fromkeys(GOOGLES_CHATS, ("max_tokens",)),
}
_SOLD_BY_THE_PIECE = ("image", "character")
# The documents that count as one search unit, as Cohere bills them. The actual charge is what the provider reports.
_DOCUMENTS_A_SEARCH = 100
_NO_UNIT = (
    "The model '{name}' has no price for each {unit}, so it cannot be used under a budget. Set "
    "input_cost_per_{unit} in its model_info."
)


class Charge(NamedTuple):
    """How an endpoint is billed. `limits`: the fields that limit the output, if it is billed by the token; else empty.
    `units`: quantities billed per unit, as in `prices.cost`. `free`: never billed. `least`: the lowest output limit in
    tokens; lower limits are raised to it. `unlimited`: the endpoint accepts no limit, so the model's maximum counts."""

    limits: tuple[str, ...] = ()
    units: Mapping[str, int] | None = None
    free: bool = False
    least: int = 0
    unlimited: bool = False


# OpenAI's Responses API rejects lower limits for every model.
# https://platform.openai.com/docs/api-reference/responses/create#responses_create-max_output_tokens
LEAST_OF_RESPONSES = 16
_TOKENS = {endpoint: Charge(limits) for endpoint, limits in _LIMITS.items()}
_TOKENS["responses"] = _TOKENS["responses"]._replace(least=LEAST_OF_RESPONSES)
_TOKENS["compact"] = Charge(_LIMITS["responses"], unlimited=True)
_FREE = frozenset(("count_tokens", "input_tokens", GOOGLES_COUNT))


def charge_of_body(endpoint: str, fields: Mapping[str, Any]) -> Charge:
    """Returns the charge for a JSON body. `endpoint`: its name in `api.endpoints`."""
    if endpoint in _TOKENS:
        return _TOKENS[endpoint]
    if endpoint in _FREE:
        return Charge(free=True)
    if endpoint in _PICTURES:
        count = fields.get("n")
        return charge_of_form(endpoint, count if isinstance(count, int) and count > 0 else 1)
    if endpoint == "speech":
        text = fields.get("input")
        return Charge(units={"character": len(text) if isinstance(text, str) else 0})
    if endpoint == "rerank":
        documents = fields.get("documents")
        count = len(documents) if isinstance(documents, list) else 1
        return Charge(units={"query": max(1, -(-count // _DOCUMENTS_A_SEARCH))})
    return Charge()


def charge_of_form(endpoint: str, count: int) -> Charge:
    """Returns the charge for a form. The cost of its files is unknown in advance. `count`: results asked for."""
    return Charge(units={"image": count}) if endpoint in _PICTURES else Charge()


def no_unit(reachable: Sequence[tuple[str, Price | None]], charge: Charge) -> str:
    """Returns an error if a model lacks the unit price that the request needs, else ''."""
    for unit in charge.units or ():
        for name, price in reachable:
            if unit in _SOLD_BY_THE_PIECE and price is not None and unit not in price:
                return _NO_UNIT.format(name=name, unit=unit)
    return ""
