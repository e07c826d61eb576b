"""What a request costs at most, at the dearest deployment that it can reach, and how each endpoint is charged."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values import tags
from ..values.money import MAX_NANO
from . import prices
from .estimate import Prompt, prompt
from .prices import Price

DEFAULT_MAX_OUTPUT = 4096
# So that the tokens of a minute stay within what a Durable Object's SQL counts (2^53), whatever requests ask for.
_MOST_TOKENS = 1 << 32
# What embeddings, moderations and searches are made of, where it is several texts; chats take one `input`.
_READ_APART = ("input", "documents")
# The names that an output limit has in OpenAI's completions.
ANY_LIMIT = ("max_completion_tokens", "max_tokens")


class Quote(NamedTuple):
    """`amount`: nano-dollars, None where nobody knows the most it can cost, and then `unpriced` says why and what
    mends it. `tokens`: prompt and answers at most. `add_limit`: the output limit that the request lacks and has to be
    sent with wherever a budget applies, None where it has one."""

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
    """For a request whose answer may come from any of `reachable`: (name of the model, its prices).

    `limits`: the fields that limit the answer; none for embeddings and their like, which answer with no tokens.
    `units`: what is not tokens, as in `prices.cost`. `least`: the lowest limit that the endpoint takes; what is sent is
    never below it, nor below a price's `min_output`, nor above its `max_output`.
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
    """None where there is no bound. More than its window holds, a model does not read (and does not charge): of each
    text, where there are several."""
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
    """Nano-dollars. `auto` may turn out to be priority, if the provider's account has that, and no tier is granted for
    certain."""
    most = 0
    for chosen in (None,) if tier is None else (None, "priority" if tier == "auto" else tier):
        now = prices.at(price, prompt_tokens, chosen)
        into = now.get("input", 0)
        if prompt.unbounded:
            into = max(into, now.get("audio_input", 0))
        if prompt.cached:
            # An hour in Anthropic's cache costs 2 times the input, five minutes 1.25 times.
            into = max(2 * into, now.get("cache_write", 0), now.get("cache_write_1h", 0))
        out = max(now.get(unit, 0) for unit in ("output", "reasoning", "audio_output", "image_output"))
        most = max(most, prompt_tokens * into + output_tokens * out)
    return min(MAX_NANO, prices.nano(most + prices.flat(price, units) if units else most))


def _no_price(name: str) -> str:
    return (
        f"The model '{name}' has no price here, so it cannot be used under a budget. Set input_cost_per_token and "
        "output_cost_per_token in its model_info (0 is a price)."
    )


def _no_bound(name: str, prompt: Prompt) -> str:
    return (
        f"What '{prompt.unbounded[0]}' comes to cannot be known before it is sent, so it cannot be used under a "
        f"budget with the model '{name}'. Set max_input_tokens in its model_info: that much is then set aside."
    )


def _limit(body: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The request's own output limit."""
    for name in names:
        value = body.get(name)
        if value is not None and _is_count(value):
            return value
    return None


def _several(texts: Any) -> int:
    """How many texts these are, each read (and answered) by itself: completions and embeddings take several, or several
    arrays of token ids; one such array is one text."""
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
# Where the answer is paid for by the token: the fields by which a request limits it. Other names mean nothing there.
_LIMITS = {
    "chat_completions": ANY_LIMIT,
    "completions": ANY_LIMIT,
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
_SOLD_BY_THE_PIECE = ("image", "character")
# So many documents are taken to be one search, as Cohere sells them. Charged is what a provider says that it bills.
_DOCUMENTS_A_SEARCH = 100
_NO_UNIT = (
    "The model '{name}' has no price for each {unit}, so it cannot be used under a budget. Set "
    "input_cost_per_{unit} in its model_info."
)


class Charge(NamedTuple):
    """`limits`: the fields that limit the answer, where that is paid for by the token, too; else none. `units`: what is
    paid for by the piece, as in `prices.cost`. `free`: nobody charges for such requests. `least`: tokens; a lower limit
    is raised to it."""

    limits: tuple[str, ...] = ()
    units: Mapping[str, int] | None = None
    free: bool = False
    least: int = 0


# OpenAI's Responses API takes no limit below this, of any model.
# https://platform.openai.com/docs/api-reference/responses/create#responses_create-max_output_tokens
LEAST_OF_RESPONSES = 16
_TOKENS = {endpoint: Charge(limits) for endpoint, limits in _LIMITS.items()}
_TOKENS["responses"] = _TOKENS["responses"]._replace(least=LEAST_OF_RESPONSES)


def of_body(endpoint: str, fields: Mapping[str, Any]) -> Charge:
    """For a JSON body. `endpoint`: its name in `api.endpoints`."""
    if endpoint in _TOKENS:
        return _TOKENS[endpoint]
    if endpoint == "count_tokens":
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
    """For a form, whose files cost what nobody knows before they are sent. `count`: answers asked for."""
    return Charge(units={"image": count}) if endpoint in _PICTURES else Charge()


def most(
    body: Mapping[str, Any],
    prompt: Prompt,
    reachable: Sequence[tuple[str, Price | None]],
    charge: Charge,
    default_max_output: int,
) -> Quote:
    """The most that the body can cost, and use, at the dearest of `reachable`: (name of the model, its prices)."""
    if charge.free:
        return Quote(0, 0, None)
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
    """Why what is sold by the piece only cannot be set aside, as no limit bounds its tokens; '' where it can be."""
    for unit in charge.units or ():
        for name, price in reachable:
            if unit in _SOLD_BY_THE_PIECE and price is not None and unit not in price:
                return _NO_UNIT.format(name=name, unit=unit)
    return ""


def dearer(one: Quote, other: Quote) -> Quote:
    """What covers both."""
    unpriced = one.unpriced or other.unpriced
    amount = None if unpriced or one.amount is None or other.amount is None else max(one.amount, other.amount)
    add = one.add_limit if one.add_limit is not None else other.add_limit
    return Quote(amount, max(one.tokens, other.tokens), add, unpriced)


def _as_read_by_anyone(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Providers differ in which of the two limits they obey, so the larger one counts."""
    first, second = body.get("max_tokens"), body.get("max_completion_tokens")
    if isinstance(first, int) and isinstance(second, int) and first != second:
        return {**body, "max_completion_tokens": max(first, second)}
    return body


# Fields by which a request changes where it may end up.
_OWN_WAY = ("fallbacks", "disable_fallbacks")


class Quoted(NamedTuple):
    """`model`: as the client names it. `tags`: the request's, as `tags.of_request` finds them."""

    model: str
    quote: Quote
    tags: str = ""


class Quoter:
    """`deployments` and `reach`: the catalog's; `is_on`: whether a deployment with these needs is on."""

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

    def quote(self, endpoint: str, content: bytes) -> Quoted | None:
        """None where the proxy has to be asked. `endpoint`: its name in `api.endpoints`."""
        try:
            body = json.loads(content.decode())
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict) or any(body.get(name) is not None for name in _OWN_WAY):
            return None
        if endpoint == "chat_completions" and body.get("messages") is None and body.get("input") is not None:
            return None  # another API's request, which the proxy translates
        model = body.get("model")
        reachable = self._reach.get(model) if isinstance(model, str) else None
        if not isinstance(model, str) or not reachable:
            return None
        try:
            charge = of_body(endpoint, body)
            found = most(body, prompt(body), reachable, charge, self._default_max_output)
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return None  # a field that is none of what it should be: the proxy says which
        return Quoted(model, found, tags.of_request(body))
