"""The maximum cost of a request at the most expensive deployment it can reach, and how each endpoint is billed."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values import tags
from ..values.money import MAX_NANO
from . import generate_content, prices
from .estimate import AN_HOUR, Prompt, prompt
from .prices import Price
from .stored_items import refers

DEFAULT_MAX_OUTPUT = 4096
# Keeps a minute's tokens within the range of a Durable Object's SQL (2^53), whatever requests ask for.
_MOST_TOKENS = 1 << 32
# Fields in which embeddings, moderations and searches send several texts. In chat requests `input` is one text.
_READ_APART = ("input", "documents")
# The names of the output limit in OpenAI's completions.
ANY_LIMIT = ("max_completion_tokens", "max_tokens")


class Quote(NamedTuple):
    """`amount`: nano-dollars, None if the maximum cost is unknown; `unpriced` then gives the reason and the fix.
    `tokens`: the maximum for prompt and completions. `add_limit`: the output limit to add to the request if a budget
    applies, None if the request has one."""

    amount: int | None
    tokens: int
    add_limit: int | None
    unpriced: str = ""


def quote(
    body: Mapping[str, Any],
    prompt: Prompt,
    reachable: Sequence[tuple[str, Price | None]],
    *,
    limits: Sequence[str] = ANY_LIMIT,
    default_max_output: int = DEFAULT_MAX_OUTPUT,
    units: Mapping[str, int] | None = None,
    least: int = 0,
) -> Quote:
    """Quotes a request that any of `reachable` may serve: (name of the model, its prices).

    `limits`: the fields that limit the output; empty for embeddings and other endpoints that generate no tokens.
    `units`: quantities other than tokens, as in `prices.cost`. `least`: the lowest limit that the endpoint accepts. The
    limit that is sent is never below it, nor below a price's `min_output`, nor above its `max_output`.
    """
    limit = _limit(body, limits)
    output = 0 if not limits else limit if limit is not None else default_max_output
    prompts = _several(body.get("prompt"))
    windows = prompts if limits else max(prompts, *(_several(body.get(name)) for name in _READ_APART))
    answers = prompts * max(_number(body, "n"), _number(body, "best_of")) if limits else 0
    amount, tokens, unpriced = 0, 0, ""
    for name, price in reachable:
        if price is None:
            unpriced = unpriced or _no_price(name)
            tokens = max(tokens, prompt.tokens() + answers * max(output, least))
            continue
        size = _prompt_tokens(prompt, price, windows)
        if size is None:
            unpriced = unpriced or _no_bound(name, prompt)
            size = prompt.tokens(prices.tokenizer(price))
        each = max(min(output, price.get("max_output", output)), price.get("min_output", 0), least) if limits else 0
        tokens = max(tokens, size + answers * each)
        amount = max(amount, _most(price, size, answers * each, prompt, body.get("service_tier"), units or {}))
    add = default_max_output if limits and limit is None else None
    return Quote(None if unpriced else amount, min(tokens, _MOST_TOKENS), add, unpriced)


def _prompt_tokens(prompt: Prompt, price: Price, windows: int) -> int | None:
    """Returns None if there is no bound. A model reads (and bills) at most its context window, once per text if there
    are several."""
    window = price.get("max_input")
    if window is not None:
        window *= windows
    if prompt.unbounded:
        return window
    size = prompt.tokens(prices.tokenizer(price)) + prompt.images * price["image_tokens"]
    return size if window is None else min(size, window)


def _most(
    price: Price, prompt_tokens: int, output_tokens: int, prompt: Prompt, tier: Any, units: Mapping[str, int]
) -> int:
    """Returns nano-dollars. `auto` may be billed as priority if the provider's account has it, and no tier is
    guaranteed."""
    most = 0
    for chosen in (None,) if tier is None else (None, "priority" if tier == "auto" else tier):
        now = prices.at(price, prompt_tokens, chosen)
        into = now.get("input", 0)
        if prompt.unbounded:
            into = max(into, now.get("audio_input", 0))
        if prompt.cached:
            into = _cache_write(now, into, prompt.cached)
        out = max(now.get(unit, 0) for unit in ("output", "reasoning", "audio_output", "image_output"))
        most = max(most, prompt_tokens * into + output_tokens * out)
    return min(MAX_NANO, prices.nano(most + prices.flat(price, units) if units else most))


def _cache_write(now: Price, into: int, cached: int) -> int:
    """Returns the most that a token of a prompt with cache markers can cost. It is read, written or neither, and only a
    marker for an hour can have it written for an hour. Without a price of its own, a write costs what it does at
    Anthropic: 1.25 times the input for five minutes, twice the input for an hour."""
    most = max(into, now.get("cache_write", into + -(-into // 4)))
    return max(most, now.get("cache_write_1h", 2 * into)) if cached == AN_HOUR else most


def _no_price(name: str) -> str:
    return (
        f"The model '{name}' has no price here, so it cannot be used under a budget. Set input_cost_per_token and "
        "output_cost_per_token in its model_info (0 is a price)."
    )


def _no_bound(name: str, prompt: Prompt) -> str:
    return (
        f"The size of '{prompt.unbounded[0]}' is not known before the request is sent, so it cannot be used under a "
        f"budget with the model '{name}'. Set max_input_tokens in its model_info to reserve that many tokens."
    )


def _limit(body: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """Returns the output limit set by the request."""
    for name in names:
        value = body.get(name)
        if value is not None and _is_count(value):
            return value
    return None


def _several(texts: Any) -> int:
    """Returns how many texts these are, each processed separately. Completions and embeddings accept several strings or
    several arrays of token ids; a single such array is one text."""
    if not isinstance(texts, list) or not texts or all(map(_is_token, texts)):
        return 1
    return len(texts)


def _is_token(value: Any) -> bool:
    return isinstance(value, int)


def _number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    return value if value is not None and _is_count(value) else 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_PICTURES = ("image_generation", "image_edit", "image_variation")
# The fields that limit the output on endpoints billed by the token. Other names have no effect there.
_LIMITS = {
    "chat_completions": ANY_LIMIT,
    "completions": ANY_LIMIT,
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    **dict.fromkeys(generate_content.CHATS, ("max_tokens",)),
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
_FREE = frozenset(("count_tokens", "input_tokens", generate_content.COUNT))


def of_body(endpoint: str, fields: Mapping[str, Any]) -> Charge:
    """Returns the charge for a JSON body. `endpoint`: its name in `api.endpoints`."""
    if endpoint in _TOKENS:
        return _TOKENS[endpoint]
    if endpoint in _FREE:
        return Charge(free=True)
    if endpoint in _PICTURES:
        count = fields.get("n")
        return of_form(endpoint, count if isinstance(count, int) and count > 0 else 1)
    if endpoint == "speech":
        text = fields.get("input")
        return Charge(units={"character": len(text) if isinstance(text, str) else 0})
    if endpoint == "rerank":
        documents = fields.get("documents")
        count = len(documents) if isinstance(documents, list) else 1
        return Charge(units={"query": max(1, -(-count // _DOCUMENTS_A_SEARCH))})
    return Charge()


def of_form(endpoint: str, count: int) -> Charge:
    """Returns the charge for a form. The cost of its files is unknown in advance. `count`: results asked for."""
    return Charge(units={"image": count}) if endpoint in _PICTURES else Charge()


def most(
    body: Mapping[str, Any],
    prompt: Prompt,
    reachable: Sequence[tuple[str, Price | None]],
    charge: Charge,
    default_max_output: int,
) -> Quote:
    """Returns the maximum cost and usage at the most expensive of `reachable`: (name of the model, its prices)."""
    if charge.free:
        return Quote(0, 0, None)
    if charge.unlimited:
        body = {**body, charge.limits[0]: _MOST_TOKENS}
    unsold = no_unit(reachable, charge) if charge.units else ""
    if unsold:
        return Quote(None, prompt.tokens(), None, unsold)
    return quote(
        _as_read_by_anyone(body),
        prompt,
        reachable,
        limits=charge.limits,
        default_max_output=default_max_output,
        units=charge.units,
        least=charge.least,
    )


def no_unit(reachable: Sequence[tuple[str, Price | None]], charge: Charge) -> str:
    """Returns an error if a model lacks the unit price that the request needs, else ''."""
    for unit in charge.units or ():
        for name, price in reachable:
            if unit in _SOLD_BY_THE_PIECE and price is not None and unit not in price:
                return _NO_UNIT.format(name=name, unit=unit)
    return ""


def dearer(one: Quote, other: Quote) -> Quote:
    """Returns a quote that covers both."""
    unpriced = one.unpriced or other.unpriced
    amount = None if unpriced or one.amount is None or other.amount is None else max(one.amount, other.amount)
    add = one.add_limit if one.add_limit is not None else other.add_limit
    return Quote(amount, max(one.tokens, other.tokens), add, unpriced)


def _as_read_by_anyone(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Providers differ in which of the two limits they obey, so the larger one applies to both."""
    first, second = body.get("max_tokens"), body.get("max_completion_tokens")
    if isinstance(first, int) and isinstance(second, int) and first != second:
        return {**body, "max_completion_tokens": max(first, second)}
    return body


# Fields with which a request changes its own routing.
_OWN_WAY = ("fallbacks", "disable_fallbacks")
# Endpoints whose requests may refer to stored responses. Only the proxy knows their size.
_MAY_REFER = frozenset(("responses", "compact", "input_tokens"))


class Quoted(NamedTuple):
    """`model`: as named by the client. `tags`: the request's, as returned by `tags.of_request`."""

    model: str
    quote: Quote
    tags: str = ""


class Quoter:
    """Quotes requests at the edge. `deployments` and `reach` come from the catalog. `is_on`: whether a deployment with
    these needs is on."""

    def __init__(
        self,
        deployments: list[Mapping[str, Any]],
        reach: Mapping[str, list[int]],
        is_on: Callable[[list[str]], bool],
        default_max_output: int,
    ) -> None:
        self._default_max_output = default_max_output
        on = [is_on(deployment["needs"]) for deployment in deployments]
        self._reach: dict[str, list[tuple[str, Price | None]]] = {
            name: [(deployments[i]["group"], deployments[i]["price"]) for i in indices if on[i]]
            for name, indices in reach.items()
        }

    def quote(self, endpoint: str, content: bytes, model: str | None = None) -> Quoted | None:
        """Returns None if only the proxy can quote the request. `endpoint`: its name in `api.endpoints`. `model`: the
        one in the path, None if it is in the body."""
        try:
            body = json.loads(content.decode())
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict) or any(body.get(name) is not None for name in _OWN_WAY):
            return None
        if endpoint == "chat_completions" and body.get("messages") is None and body.get("input") is not None:
            return None  # a request for another API, which the proxy translates
        if endpoint in _MAY_REFER and refers(body):
            return None
        model = model or body.get("model")
        reachable = self._reach.get(model) if isinstance(model, str) else None
        if not isinstance(model, str) or not reachable:
            return None
        try:
            labels = tags.of_request(body)
            if endpoint in generate_content.ENDPOINTS:
                body = generate_content.terms(endpoint, body)
            charge = of_body(endpoint, body)
            found = most(body, prompt(body), reachable, charge, self._default_max_output)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError):
            return None  # a field has an invalid value; the proxy reports which
        return Quoted(model, found, labels)
