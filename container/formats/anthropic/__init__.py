"""Chat completions through Anthropic's Messages API."""

from collections.abc import Mapping
from typing import Any

from ...config.deployment import Deployment, lowest_limit
from ...request.completion import Completion, encode
from ...routing.health import Outcome
from ..shared import failure, wire
from ..shared.capabilities import capabilities
from ..shared.wire import Address, Addresses, Malformed, Plain, Sent
from .answer import ChunkStream, plain
from .models import Traits, traits
from .request import Translated, translate

VERSION = "2023-06-01"
_PATH = "/v1/messages"
# Anthropic's rate limit headers and OpenAI's names for them.
_LIMITS = {
    f"anthropic-ratelimit-{what}-{which}": f"x-ratelimit-{which}-{what}"
    for what in ("requests", "tokens")
    for which in ("limit", "remaining")
}
# The account is out of credit. This is not the client's fault, and another deployment can respond.
_NO_CREDIT = "credit balance is too low"


class Anthropic:
    """A `Format`. `model_info.max_output_tokens` of a deployment limits responses if the client sets no limit."""

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
        return plain(raw, name, sent.note)

    def events(self, name: str, request: Completion, sent: Sent) -> ChunkStream:
        return ChunkStream(name, sent.note, wants_usage=request.client_wants_usage)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return refusal(status, headers, raw)


def asking(d: Deployment, model: str, can: Traits, request: Completion, *, drop_params: bool) -> Translated:
    """Translates the request for a model with the traits `can`. The body lacks the model, which Vertex AI expects
    elsewhere.
    """
    takes = capabilities(d, model)
    fields = wire.merge(d, takes, request.body, request)
    # Reasoning has to fit into the limit, unless the client chose both.
    preset = "thinking" in d.presets and "thinking" not in request.body
    ours = preset or fields.get("max_tokens") != lowest_limit(request.body)
    try:
        return translate(
            can, fields, drop_params=drop_params, max_tokens=takes.max_output, ours=ours, presets=d.presets
        )
    except (AttributeError, KeyError, TypeError) as error:
        # Values of unexpected types, deep inside messages or tools.
        raise Malformed("messages", "The request cannot be translated for Claude: check messages and tools.") from error


def address(d: Deployment) -> Address:
    headers = {**wire.JSON, "anthropic-version": VERSION}
    if d.api_key:
        headers["x-api-key"] = d.api_key
    headers.update(d.extra_headers)
    return Address(d.base, headers)


def url(base: str) -> str:
    """The URL. As in LiteLLM, `api_base` may include the path."""
    return base if base.endswith(_PATH) else base.removesuffix("/v1") + _PATH


def betas(d: Deployment, wanted: tuple[str, ...]) -> dict[str, str] | None:
    """The header that enables beta features, in addition to those in the config."""
    if not wanted:
        return None
    own = d.extra_headers.get("anthropic-beta")
    return {"anthropic-beta": ",".join(dict.fromkeys((*(own.split(",") if own else ()), *wanted)))}


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
    """Maps a response whose status is not 200, and renames its rate limit headers."""
    said: dict[str, Any] = {}
    for name, value in headers.items():
        name = name.lower()
        said[_LIMITS.get(name, name)] = value
    if status == 400 and _NO_CREDIT in raw.decode("utf-8", "replace").lower():
        return Outcome("authentication", status, "The provider refused this gateway's credentials (no credit left).")
    return failure.from_response(status, said, raw)
