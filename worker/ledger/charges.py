"""How each endpoint is charged: by tokens, pictures, characters, searches, or not at all; and what a body can cost."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .estimate import Prompt
from .prices import Price
from .reserve import ANY_LIMIT, Quote, quote

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
