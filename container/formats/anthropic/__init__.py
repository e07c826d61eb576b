"""Anthropic's Messages API behind chat completions."""

from collections.abc import Mapping
from typing import Any

from ...config import parameters
from ...config.deployment import Deployment
from ...request.completion import Completion, encode
from ...routing.outcome import Outcome
from ..shared import failure, prepare
from ..shared.answer import Plain
from ..shared.capabilities import capabilities
from ..shared.format import Malformed, Sent
from ..shared.prepare import Address, Addresses
from . import answer
from .models import Traits, traits
from .request import Translated, translate
from .stream import ChunkStream

VERSION = "2023-06-01"
_PATH = "/v1/messages"
# What Anthropic says of its limits, by the names that OpenAI's clients know.
_LIMITS = {
    f"anthropic-ratelimit-{what}-{which}": f"x-ratelimit-{which}-{what}"
    for what in ("requests", "tokens")
    for which in ("limit", "remaining")
}
# The account has run dry: no fault of the client's, and another deployment can answer.
_NO_CREDIT = "credit balance is too low"


class Anthropic:
    """A deployment's `model_info.max_output_tokens` limits its answers when the client says nothing."""

    def __init__(self, *, drop_params: bool) -> None:
        self._drop_params = drop_params
        self._addresses = Addresses(address)

    async def address(self, d: Deployment, patience: float) -> Address:
        return self._addresses.of(d)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return url(base)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        asked = asking(d, model, traits(model), request, drop_params=self._drop_params)
        return Sent(encode({"model": model, **asked.body}), betas(d, asked.betas), asked)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        return None

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return answer.plain(raw, name, sent.note)

    def events(self, name: str, request: Completion, sent: Sent) -> ChunkStream:
        return ChunkStream(name, sent.note, wants_usage=request.client_wants_usage)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return refusal(status, headers, raw)


def asking(d: Deployment, model: str, can: Traits, request: Completion, *, drop_params: bool) -> Translated:
    """The request in Anthropic's words for a model that `can` do so much; the body lacks the model, which Vertex AI
    wants elsewhere."""
    takes = capabilities(d, model)
    fields = prepare.merge(d, takes, request.body, request.output_limit)
    # Thoughts have to fit into the limit, unless the client chose both.
    preset = "thinking" in d.presets and "thinking" not in request.body
    ours = preset or fields.get("max_tokens") != parameters.lowest(request.body)
    try:
        return translate(
            can, fields, drop_params=drop_params, max_tokens=takes.max_output, ours=ours, presets=d.presets
        )
    except (AttributeError, KeyError, TypeError) as error:
        # Values of types that nothing can be made of, deep in messages and tools.
        raise Malformed("messages", "Claude's request cannot be made of this one: check messages and tools.") from error


def address(d: Deployment) -> Address:
    headers = {**prepare.JSON, "anthropic-version": VERSION}
    if d.api_key:
        headers["x-api-key"] = d.api_key
    headers.update(d.extra_headers)
    return Address(d.base, headers)


def url(base: str) -> str:
    """LiteLLM takes an `api_base` with or without the path."""
    return base if base.endswith(_PATH) else base.removesuffix("/v1") + _PATH


def betas(d: Deployment, wanted: tuple[str, ...]) -> dict[str, str] | None:
    """The header for what is not yet generally available; the config's own values stay."""
    if not wanted:
        return None
    own = d.extra_headers.get("anthropic-beta")
    return {"anthropic-beta": ",".join(dict.fromkeys((*(own.split(",") if own else ()), *wanted)))}


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
    """An answer that is not 200: the rate limits by their usual names."""
    said: dict[str, Any] = {}
    for name, value in headers.items():
        name = name.lower()
        said[_LIMITS.get(name, name)] = value
    if status == 400 and _NO_CREDIT in raw.decode("utf-8", "replace").lower():
        return Outcome("authentication", status, "The provider refused this gateway's credentials (no credit left).")
    return failure.from_response(status, said, raw)
