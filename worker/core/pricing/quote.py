"""The maximum cost of a request at the most expensive deployment that it can reach."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values import claims
from ..values.claims import NO_CLAIMS, Claims
from ..values.money import MAX_NANO, OutputSteps, higher_steps
from . import prices
from .estimate import AN_HOUR, Prompt, prompt, refers
from .prices import ANY_LIMIT, GOOGLE, Charge, Price, charge_of_body, no_unit

# The output limit of a request that has none, at models whose maximum is not known.
UNKNOWN_MAX_OUTPUT = 4096
# An output limit is not lowered below this to fit a budget, unless the operator sets another.
MIN_OUTPUT = 1024
# Keeps a minute's tokens within the range of a Durable Object's SQL (2^53), whatever requests ask for.
_MOST_TOKENS = 1 << 32
# Of the proxy's JSON parser.
_LARGEST_INTEGER = (1 << 64) - 1
# Fields in which embeddings, moderations and searches send several texts. In chat requests `input` is one text.
_READ_APART = ("input", "documents")


class Quote(NamedTuple):
    """`amount`: nano-dollars, None if the maximum cost is unknown; `unpriced` then gives the reason and the fix.
    `tokens`: the maximum for prompt and completions. `add_limit`: the output limit to add to the request if a budget
    applies, None if the request has one. `steps`: the same for lower output limits, see `core.values.money`;
    empty if the request has no output or no known price."""

    amount: int | None
    tokens: int
    add_limit: int | None
    unpriced: str = ""
    steps: OutputSteps = ()


class _Offer(NamedTuple):
    """What one deployment charges. `size`: the prompt's tokens. `low`, `high`: the range to which it clamps output
    limits. `lines`: femto-dollars for the prompt and for each output token, by service tier."""

    size: int
    low: int
    high: int | None
    lines: Sequence[tuple[int, int]] = ()


def quote(
    body: Mapping[str, Any],
    prompt: Prompt,
    reachable: Sequence[tuple[str, Price | None]],
    *,
    limits: Sequence[str] = ANY_LIMIT,
    default_max_output: int | None = None,
    units: Mapping[str, int] | None = None,
    least: int = 0,
    min_output: int = MIN_OUTPUT,
) -> Quote:
    """Quotes a request that any of `reachable` may serve: (name of the model, its prices).

    `limits`: the fields that limit the output; empty for embeddings and other endpoints that generate no tokens.
    `default_max_output`: the highest limit for a request that has none, which otherwise gets the model's maximum.
    `units`: quantities other than tokens, as in `prices.cost`. `least`: the lowest limit that the endpoint accepts. The
    limit that is sent is never below it, nor below a price's `min_output`, nor above its `max_output`. `min_output`:
    the lowest limit that a request is worth sending with.
    """
    limit = _limit(body, limits)
    wanted = 0 if not limits else limit if limit is not None else _most_output(reachable, default_max_output)
    prompts = _several(body.get("prompt"))
    windows = prompts if limits else max(prompts, *(_several(body.get(name)) for name in _READ_APART))
    answers = prompts * max(_number(body, "n"), _number(body, "best_of")) if limits else 0
    offers, unpriced = [], ""
    for name, price in reachable:
        if price is None:
            unpriced = unpriced or _no_price(name)
            offers.append(_Offer(prompt.tokens(), least, None))
            continue
        size = _prompt_tokens(prompt, price, windows)
        if size is None:
            unpriced = unpriced or _no_bound(name, prompt)
            size = prompt.tokens(prices.tokenizer(price))
        lines = _lines(price, size, prompt, body.get("service_tier"), units or {})
        offers.append(_Offer(size, max(price.get("min_output", 0), least), price.get("max_output"), lines))
    amount, tokens = _most(offers, answers, wanted)
    steps: OutputSteps = ()
    if limits and not unpriced:
        steps = ((wanted, amount, tokens),)
        worth = max(min_output, _thinking_budget(body) + min_output)
        if worth < wanted and tokens < _MOST_TOKENS and amount < MAX_NANO:
            steps = (*_lower(offers, answers, worth, wanted), *steps)
    return Quote(None if unpriced else amount, tokens, wanted if limits and limit is None else None, unpriced, steps)


def _most_output(reachable: Sequence[tuple[str, Price | None]], most: int | None) -> int:
    """Returns the output limit for a request that has none: the highest maximum of any model."""
    unknown = most or UNKNOWN_MAX_OUTPUT
    wanted = max(
        [unknown if price is None else price.get("max_output", unknown) for _, price in reachable], default=unknown
    )
    return wanted if most is None else min(wanted, most)


def _most(offers: Sequence[_Offer], answers: int, limit: int) -> tuple[int, int]:
    """Returns the highest cost in nano-dollars and the most tokens with this output limit."""
    most, tokens = 0, 0
    for size, low, high, lines in offers:
        output = limit if high is None or limit < high else high
        output = (output if output > low else low) * answers
        for fixed, each in lines:
            femto = fixed + output * each
            if femto > most:
                most = femto
        if size + output > tokens:
            tokens = size + output
    return min(MAX_NANO, prices.nano(most)), min(tokens, _MOST_TOKENS)


def _lower(offers: Sequence[_Offer], answers: int, worth: int, wanted: int) -> OutputSteps:
    """Returns the steps from `worth` up to, but not including, `wanted`.

    Between two steps no model's maximum begins to apply, so that the highest cost is a convex function of the limit
    there: no more than what lies on the line between the two.
    """
    maxima = {offer.high for offer in offers if offer.high is not None and worth < offer.high < wanted}
    return tuple((limit, *_most(offers, answers, limit)) for limit in (worth, *sorted(maxima)))


def _thinking_budget(body: Mapping[str, Any]) -> int:
    """Returns the tokens that the request reserves for reasoning. Its output limit has to be higher.
    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    https://openrouter.ai/docs/use-cases/reasoning-tokens
    https://ai.google.dev/gemini-api/docs/thinking#set-budget"""
    if "thinking" not in body and "reasoning" not in body:
        return 0
    most = 0
    for name, field in _THINKING:
        asked = body.get(name)
        value = asked.get(field) if isinstance(asked, Mapping) else None
        if value is not None and _is_count(value):
            most = max(most, value)
    return most


_THINKING = (
    ("thinking", "budget_tokens"),
    ("reasoning", "max_tokens"),
    ("thinking", "thinkingBudget"),
    ("thinking", "thinking_budget"),
)


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


def _lines(
    price: Price, prompt_tokens: int, prompt: Prompt, tier: Any, units: Mapping[str, int]
) -> list[tuple[int, int]]:
    """Returns femto-dollars for the prompt and the units, and for each output token, by the service tiers that may be
    billed. `auto` may be billed as priority if the provider's account has it, and no tier is guaranteed."""
    fixed = prices.flat(price, units) if units else 0
    if prompt.runs or "searches" in price:
        fixed += prices.fees_of_runs(price, prompt.runs)
    lines = []
    for chosen in (None,) if tier is None else (None, "priority" if tier == "auto" else tier):
        now = prices.at(price, prompt_tokens, chosen)
        into = now.get("input", 0)
        if prompt.unbounded:
            into = max(into, now.get("audio_input", 0))
        if prompt.cached:
            into = _cache_write(now, into, prompt.cached)
        out = max(now.get(unit, 0) for unit in ("output", "reasoning", "audio_output", "image_output"))
        lines.append((fixed + prompt_tokens * into, out))
    return lines


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
    """Larger numbers are none: the proxy's parser reads them as floats, and no such limit is sent."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_INTEGER


def most(
    body: Mapping[str, Any],
    prompt: Prompt,
    reachable: Sequence[tuple[str, Price | None]],
    charge: Charge,
    default_max_output: int | None,
    min_output: int = MIN_OUTPUT,
) -> Quote:
    """Returns the maximum cost and usage at the most expensive of `reachable`: (name of the model, its prices)."""
    if charge.free:
        return Quote(0, 0, None)
    if charge.unlimited:
        body = {**body, charge.limits[0]: _MOST_TOKENS}
    unsold = no_unit(reachable, charge) if charge.units else ""
    if unsold:
        return Quote(None, prompt.tokens(), None, unsold)
    found = quote(
        _as_read_by_anyone(body),
        prompt,
        reachable,
        limits=charge.limits,
        default_max_output=default_max_output,
        units=charge.units,
        least=charge.least,
        min_output=min_output,
    )
    return found._replace(steps=()) if charge.unlimited else found


def dearer(one: Quote, other: Quote) -> Quote:
    """Returns a quote that covers both."""
    unpriced = one.unpriced or other.unpriced
    amount = None if unpriced or one.amount is None or other.amount is None else max(one.amount, other.amount)
    added = [limit for limit in (one.add_limit, other.add_limit) if limit is not None]
    steps = () if unpriced else higher_steps(one.steps, other.steps)
    return Quote(amount, max(one.tokens, other.tokens), max(added, default=None), unpriced, steps)


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
    """`model`, `named`, `candidates`: see `ledger.admit.AdmissionRequest`. `claims`: of the body."""

    model: str
    quote: Quote
    claims: Claims = NO_CLAIMS
    candidates: Sequence[Sequence[str]] = ()
    named: str = ""


class Quoter:
    """Quotes requests at the edge. `deployments` and `reach` come from the catalog. `is_on`: whether a deployment with
    these needs is on."""

    def __init__(
        self,
        deployments: list[Mapping[str, Any]],
        reach: Mapping[str, list[int]],
        is_on: Callable[[list[str]], bool],
        default_max_output: int | None,
        min_output: int = MIN_OUTPUT,
    ) -> None:
        self._default_max_output = default_max_output
        self._min_output = min_output
        on = [is_on(deployment["needs"]) for deployment in deployments]
        self._reach: dict[str, list[tuple[str, Price | None]]] = {
            name: [(deployments[i]["group"], deployments[i]["price"]) for i in indices if on[i]]
            for name, indices in reach.items()
        }
        accounts = [tuple(deployment.get("accounts", ())) for deployment in deployments]
        self._candidates = {
            name: tuple(dict.fromkeys(accounts[i] for i in indices if on[i]))
            for name, indices in reach.items()
            if any(accounts[i] for i in indices if on[i])
        }

    def quote(
        self, endpoint: str, content: bytes, model: str | None = None, aliases: Mapping[str, str] | None = None
    ) -> Quoted | None:
        """Returns None if only the proxy can quote the request. `endpoint`: its name in `api.endpoints`. `model`: the
        one in the path, None if it is in the body. `aliases`: the models that the client's names for them stand for."""
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
        model, named = model or body.get("model"), ""
        if aliases and isinstance(model, str) and aliases.get(model, model) != model:
            model, named = aliases[model], model
        reachable = self._reach.get(model) if isinstance(model, str) else None
        if not isinstance(model, str) or not reachable:
            return None
        try:
            claimed = claims.of_body(body)
            if endpoint in GOOGLE:
                from . import generate_content  # on first use, so that a new isolate starts sooner

                body = generate_content.terms(endpoint, body)
            charge = charge_of_body(endpoint, body)
            found = most(body, prompt(body), reachable, charge, self._default_max_output, self._min_output)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError):
            return None  # a field has an invalid value; the proxy reports which
        return Quoted(model, found, claimed, self._candidates.get(model, ()), named)
