"""OpenAI's wire format, which clients speak too: the body goes on as it came, but for a few fields. The engine's."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...config import Deployment
from ...config.model_routes import split_route
from ...engine.supervisor import Engine
from ...request import engine_fields
from ...request.completion import Completion
from ...routing.outcome import Outcome
from .. import failure, prepare
from ..answer import Plain, plain
from ..events import EventStream
from .format import Sent, Unsupported

# Without these it would be another request.
_ESSENTIAL = {"model", "messages", "prompt", "input", "stream"}
_MAX_LEFT_OUT = 5


class _Note(NamedTuple):
    """What was added to a request: `usage` was asked for; the name of the output limit; the fields left out."""

    usage: bool
    limit: str | None
    left_out: frozenset[str]


class OpenAI:
    """Learns which deployments refuse what: `stream_options`, or the usual name of an output limit."""

    _withheld: frozenset[str] = frozenset()

    def __init__(self, *, drop_params: bool) -> None:
        self._drop_params = drop_params
        self._addresses: dict[str, prepare.Address] = {}
        self._limit_names: dict[str, str] = {}  # deployments that refused the usual name of an output limit
        self._rejects_usage: set[str] = set()  # ids of deployments that refused stream_options

    async def address(self, d: Deployment, patience: float) -> prepare.Address:
        known = self._addresses.get(d.id)
        if known is None:
            known = self._addresses[d.id] = prepare.address(d)
        return known

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return prepare.url(d, base, model, endpoint)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        return self._sent(d, model, request, frozenset())

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        note: _Note = sent.note
        if len(note.left_out) >= _MAX_LEFT_OUT:
            return None
        if note.limit and self._wants_other_limit(d, refusal, note.limit):
            return self._sent(d, model, request, note.left_out)
        unwanted = self._unwanted(d, refusal, note.usage)
        if unwanted in prepare.OUTPUT_LIMITS and request.limited:
            return None  # without it the request could cost more than was set aside for it
        if unwanted is None or unwanted in note.left_out:
            return None
        return self._sent(d, model, request, note.left_out | {unwanted})

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return plain(raw, name)

    def events(self, name: str, request: Completion, sent: Sent) -> EventStream:
        return EventStream(name, drop_usage=sent.note.usage)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return failure.from_response(status, headers, raw)

    def _sent(self, d: Deployment, model: str, request: Completion, left_out: frozenset[str]) -> Sent:
        asks = request.stream and not request.client_wants_usage and d.asks_usage and d.id not in self._rejects_usage
        limit = None
        if request.output_limit is not None:
            limit = self._limit_names.get(d.id) or self._limit_name(d, request.endpoint), request.output_limit
        out = left_out | self._withheld
        fields = self._shown(request)
        body = prepare.body(d, self._model(d, model), fields, ask_usage=asks, leave_out=out, limit=limit)
        return Sent(body, None, _Note(asks, limit[0] if limit else None, left_out))

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """The client's fields that the provider gets."""
        return request.body

    def _limit_name(self, d: Deployment, endpoint: str) -> str:
        return prepare.limit_name(d, endpoint)

    def _model(self, d: Deployment, model: str) -> str:
        return split_route(d.provider, model)[1]

    def _wants_other_limit(self, d: Deployment, refusal: Outcome, sent: str) -> bool:
        """Whether the provider has refused the name of our output limit; the other one is tried, and remembered."""
        if d.id in self._limit_names or sent not in f"{refusal.param} {refusal.message}":
            return False
        self._limit_names[d.id] = next(name for name in prepare.OUTPUT_LIMITS if name != sent)
        return True

    def _unwanted(self, d: Deployment, refusal: Outcome, asked_usage: bool) -> str | None:
        """The field that the provider will not have and that may be left out, if that is what the refusal says: with
        `drop_params` any that it calls unsupported."""
        text = f"{refusal.param} {refusal.message}"
        if asked_usage and ("stream_options" in text or "include_usage" in text):
            self._rejects_usage.add(d.id)
            return "stream_options"
        if not self._drop_params or refusal.code not in failure.UNSUPPORTED_CODES or refusal.param in _ESSENTIAL:
            return None
        return refusal.param


class ThroughEngine(OpenAI):
    """LiteLLM's proxy on loopback: OpenAI's format, with the deployment's id for a model."""

    _withheld = prepare.AUTHORITY

    def __init__(self, engine: Engine, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._engine = engine

    async def address(self, d: Deployment, patience: float) -> prepare.Address:
        return await self._engine.ready(patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return base + prepare.PATHS[endpoint]

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """Raises Unsupported."""
        return shown_to_engine(request, drop_params=self._drop_params)

    def _limit_name(self, d: Deployment, endpoint: str) -> str:
        return "max_tokens"

    def _model(self, d: Deployment, model: str) -> str:
        return prepare.engine_model(d, model)


def shown_to_engine(request: Completion, *, drop_params: bool) -> Mapping[str, Any]:
    """The client's fields that LiteLLM is shown. Raises Unsupported for others unless `drop_params` leaves them out."""
    foreign = engine_fields.foreign(request.endpoint, request.body)
    if foreign and not drop_params:
        raise Unsupported(foreign[0], engine_fields.explained(foreign[0]))
    return {name: value for name, value in request.body.items() if name not in foreign} if foreign else request.body
