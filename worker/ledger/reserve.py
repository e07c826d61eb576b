"""How much to set aside for a request: what it costs at most, at the dearest deployment that it can reach."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import prices
from .estimate import Prompt
from .money import MAX_NANO
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
