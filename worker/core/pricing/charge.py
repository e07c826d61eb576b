"""How each endpoint is billed: by the token, by the piece, or not at all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .prices import Price

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


def no_unit(reachable: Sequence[tuple[str, Price | None]], charge: Charge) -> str:
    """Returns an error if a model lacks the unit price that the request needs, else ''."""
    for unit in charge.units or ():
        for name, price in reachable:
            if unit in _SOLD_BY_THE_PIECE and price is not None and unit not in price:
                return _NO_UNIT.format(name=name, unit=unit)
    return ""
