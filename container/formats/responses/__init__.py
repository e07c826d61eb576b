"""Chat completions through OpenAI's Responses API, for models that require it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.pricing.prices import LEAST_OF_RESPONSES

from ...config.deployment import Deployment, split_route
from ...request.client_apis import ENCRYPTED_REASONING
from ...request.completion import Completion, encode
from ...routing.health import Outcome
from ..shared import failure, fit, wire
from ..shared.capabilities import MAX_TOKENS, Served, capabilities, gives_reasoning, streams_responses
from ..shared.wire import Address, Malformed, Plain, Sent, Unsupported
from .answer import ChunkStream, plain
from .request import translate

_ENDPOINT = "responses"
# Fields that are never dropped, because the request would mean something else or cost more.
_ESSENTIAL = frozenset(("model", "input", "instructions", "stream", "store", "max_output_tokens"))
_MAX_LEFT_OUT = 5


class Note(NamedTuple):
    """How a request was sent.

    `body` is the body sent. `left_out` counts the fields dropped after refusals. `learns` is the deployment, the model
    and when it requires the Responses API, to be remembered if this request succeeds.
    """

    deployment: str
    model: str
    body: Mapping[str, Any]
    left_out: int
    learns: tuple[str, str, Served] | None = None


class Responses:
    """Remembers which models do not return encrypted reasoning."""

    def __init__(self, *, drop_params: bool) -> None:
        self._drop_params = drop_params
        self._addresses = wire.Addresses()
        self._secretive: set[tuple[str, str]] = set()  # (deployment, model) pairs that do not return their reasoning

    async def address(self, d: Deployment, patience: float) -> Address:
        return self._addresses.of(d)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return wire.url(d, base, model, _ENDPOINT)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        can = capabilities(d, model)
        fields = wire.merge(d, can, request.body, request)
        limit = fields.get(MAX_TOKENS)
        if limit is not None and request.limited and can.min_output <= limit < LEAST_OF_RESPONSES:
            # If the reservation had been made for the Responses API, it would cover its minimum.
            raise Unsupported(MAX_TOKENS, f"This model does not support limits below {LEAST_OF_RESPONSES} tokens.")
        if can.samples != "always":
            fit.sample(fields, can, d.presets, drop_params=self._drop_params)
        encrypted = gives_reasoning(d, model) and (d.id, model) not in self._secretive
        try:
            body = translate(
                fields,
                d.presets,
                efforts=can.efforts,
                limit=None if limit is None else max(limit, LEAST_OF_RESPONSES),
                encrypted=encrypted,
                drop_params=self._drop_params,
            )
        except (AttributeError, KeyError, TypeError) as error:
            # Values of unexpected types, deep inside messages or tools.
            raise Malformed("messages", "The request cannot be translated: check messages and tools.") from error
        if request.stream and not streams_responses(d, model):
            del body["stream"]
        return sent_as(Note(d.id, model, {"model": split_route(d.provider, model)[1], **body}, 0))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        note: Note = sent.note
        if note.left_out >= _MAX_LEFT_OUT:
            return None
        body = self._without(note, refusal)
        if body is None:
            return None
        return sent_as(note._replace(body=body, left_out=note.left_out + 1))._replace(stands=sent.stands)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return plain(raw, name)

    def events(self, name: str, request: Completion, sent: Sent) -> ChunkStream:
        return ChunkStream(name, wants_usage=request.client_wants_usage)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return failure.from_response(status, headers, raw)

    def _without(self, note: Note, refusal: Outcome) -> dict[str, Any] | None:
        """The body without the field or items that were refused, or None if they cannot be dropped."""
        text = f"{refusal.param} {refusal.code} {refusal.message}".lower()
        include = note.body.get("include") or ()
        if ENCRYPTED_REASONING in include and ("include" in text or "encrypted content is not" in text):
            self._secretive.add((note.deployment, note.model))
            kept = [name for name in include if name != ENCRYPTED_REASONING]
            rest = {name: value for name, value in note.body.items() if name != "include"}
            return {**rest, "include": kept} if kept else rest
        items = note.body.get("input")
        kept = [item for item in items if item.get("type") != "reasoning"] if isinstance(items, list) else items
        if kept != items and "encrypted" in text:
            # Reasoning from another account: a fallback responded earlier in the conversation.
            return {**note.body, "input": kept}
        name = (refusal.param or "").partition(".")[0].partition("[")[0]
        if not self._drop_params or refusal.code not in failure.UNSUPPORTED_CODES or name not in note.body:
            return None
        if name in _ESSENTIAL:
            return None
        return {key: value for key, value in note.body.items() if key != name}


def sent_as(note: Note) -> Sent:
    return Sent(encode(note.body), None, note, endpoint=_ENDPOINT)
