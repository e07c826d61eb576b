"""OpenAI's wire format, which is also the client's and the engine's: bodies pass with few changes.

`OpenAI` sends and reads it. `ThroughEngine` does so for the engine. `ChatOrResponses` sends the chat requests of models
that require the Responses API there.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from ..config.deployment import OUTPUT_LIMITS, Deployment, split_route
from ..engine import Engine
from ..request import engine_body
from ..request.completion import Completion, Conversation
from ..routing.health import Outcome
from .responses import Note, Responses
from .shared import failure, fit, wire
from .shared.capabilities import EITHER, MAX_TOKENS, Capabilities, Served, capabilities, refuses_tools
from .shared.chat_stream import EventStream
from .shared.failure import refuses_name
from .shared.wire import Events, Format, Plain, Sent, Unsupported, plain

# Fields that are never dropped, because the request would mean something else.
_ESSENTIAL = {"model", "messages", "prompt", "input", "stream"}
_MAX_LEFT_OUT = 5
_NONE: frozenset[str] = frozenset()
_MOST_LEARNT = 4096


class _Note(NamedTuple):
    """How a request was sent.

    `usage` means that usage was requested for the proxy only. `left_out` are the dropped fields. `limit` is the field
    for the output limit. `learnt` is the deployment and model for which that field name is remembered if this request
    succeeds.
    """

    usage: bool
    left_out: frozenset[str]
    limit: str
    learnt: tuple[str, str] | None = None


class OpenAI:
    """Adapts requests by the capabilities table. Learns the rest per deployment: whether it refuses `stream_options` or
    the usual field for the output limit.
    """

    _withheld: frozenset[str] = frozenset()

    def __init__(self, *, drop_params: bool) -> None:
        self._drop_params = drop_params
        self._addresses = wire.Addresses()
        # by deployment and model, for those that refuse the usual name
        self._limit_names: dict[tuple[str, str], str] = {}
        self._rejects_usage: set[str] = set()  # the ids of deployments that refused stream_options

    async def address(self, d: Deployment, patience: float) -> wire.Address:
        return self._addresses.of(d)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return wire.url(d, base, model, endpoint)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        limit = MAX_TOKENS
        if request.endpoint == "chat_completions":
            learnt = self._limit_names.get((d.id, model)) if self._limit_names else None
            limit = learnt or wire.limit_name(capabilities(d, model), request.body)
        return self._sent(d, model, request, _Note(False, _NONE, limit))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        note: _Note = sent.note
        if len(note.left_out) >= _MAX_LEFT_OUT:
            return None
        if note.learnt is None and request.endpoint == "chat_completions":
            other = EITHER[note.limit == EITHER[0]]
            if refuses_name(refusal, note.limit, other):
                return self._sent(d, model, request, note._replace(limit=other, learnt=(d.id, model)))
        unwanted = self._unwanted(d, request, refusal, note.usage)
        if unwanted is None or unwanted in note.left_out or unwanted in OUTPUT_LIMITS:
            return None  # without its limit, the request could exceed its reservation
        return self._sent(d, model, request, note._replace(left_out=note.left_out | {unwanted}))

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        self._learn(sent.note)
        return plain(raw, name)

    def events(self, name: str, request: Completion, sent: Sent) -> EventStream:
        self._learn(sent.note)
        return EventStream(name, drop_usage=sent.note.usage)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return failure.from_response(status, headers, raw)

    def _sent(self, d: Deployment, model: str, request: Completion, note: _Note) -> Sent:
        asks = request.stream and not request.client_wants_usage and d.asks_usage and d.id not in self._rejects_usage
        out = note.left_out | self._withheld if note.left_out else self._withheld
        body = wire.body(
            d,
            model,
            self._shown(request),
            ask_usage=asks,
            leave_out=out,
            request=request,
            limit_name=note.limit,
            called=self._model(d, model),
            fit=partial(self._fit, seen=request.seen) if request.endpoint == "chat_completions" else None,
        )
        return Sent(body, None, note if asks == note.usage else note._replace(usage=asks))

    def _fit(
        self, body: dict[str, Any], can: Capabilities, presets: Mapping[str, Any], *, seen: Conversation | None
    ) -> None:
        fit.fit_fields(body, can, presets, seen, drop_params=self._drop_params)

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """The client's fields that are sent to the provider."""
        return request.body

    def _model(self, d: Deployment, model: str) -> str:
        return split_route(d.provider, model)[1]

    def _learn(self, note: _Note) -> None:
        """Remembers the other name for the output limit after it was accepted. A refusal alone proves nothing, since it
        may quote the client.
        """
        if note.learnt is not None:
            if len(self._limit_names) >= _MOST_LEARNT:
                self._limit_names.clear()
            self._limit_names[note.learnt] = note.limit

    def _unwanted(self, d: Deployment, request: Completion, refusal: Outcome, asked_usage: bool) -> str | None:
        """The refused field, if it may be dropped.

        This is a field added in translation or, with `drop_params`, any field that the provider does not know.
        """
        if asked_usage and any(refuses_name(refusal, name) for name in ("stream_options", "include_usage")):
            self._rejects_usage.add(d.id)
            return "stream_options"
        for name in request.optional:
            if refuses_name(refusal, name):
                return name
        if not self._drop_params:
            return None
        if refusal.code in failure.UNSUPPORTED_CODES and refusal.param:
            name = refusal.param
        else:
            name = next((name for name in request.body if refuses_name(refusal, name)), None)
        return None if name in _ESSENTIAL else name


class ThroughEngine(OpenAI):
    """LiteLLM's proxy on the loopback interface: OpenAI's format, with the deployment id as the model."""

    _withheld = wire.AUTHORITY

    def __init__(self, engine: Engine, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._engine = engine

    async def address(self, d: Deployment, patience: float) -> wire.Address:
        return await self._engine.ready(patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return base + wire.PATHS[endpoint]

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """Raises Unsupported."""
        return shown_to_engine(request, drop_params=self._drop_params)

    def _fit(
        self, body: dict[str, Any], can: Capabilities, presets: Mapping[str, Any], *, seen: Conversation | None
    ) -> None:
        """Does nothing, because LiteLLM adapts the fields."""

    def _model(self, d: Deployment, model: str) -> str:
        return wire.engine_model(d, model)


def shown_to_engine(request: Completion, *, drop_params: bool) -> Mapping[str, Any]:
    """The client's fields that LiteLLM receives. Others are dropped.

    Raises Unsupported for a field that the client would wrongly believe to be in effect, unless `drop_params` is set.
    """
    foreign = engine_body.foreign_fields(request.endpoint, request.body)
    believed = engine_body.believed_field(foreign) if foreign and not drop_params else None
    if believed:
        raise Unsupported(believed, engine_body.why_refused(believed))
    return {name: value for name, value in request.body.items() if name not in foreign} if foreign else request.body


_CHAT = "chat_completions"
# Refusals saying that the model is served by another endpoint: "This model is only supported in v1/responses and not in
# v1/chat/completions.", "This is not a chat model and thus not supported in the v1/chat/completions endpoint.", "Please
# use /v1/responses instead", and Azure's "The chatCompletion operation does not work with the specified model".
_ELSEWHERE = re.compile(
    r"not a chat model|chatcompletion operation does not work"
    r"|\b(?:only|use|try|via|through|switch|migrate|available|supported)\b.*(?:/responses\b|\bresponses (?:api|end))"
)
_OF_TOOLS = re.compile(r"\btools?\b.*\breasoning|\breasoning.*\btools?\b")


class ChatOrResponses:
    """Learns from refusals which models require the Responses API, per deployment and model."""

    def __init__(self, chat: Format, *, drop_params: bool) -> None:
        self._chat = chat
        self._responses = Responses(drop_params=drop_params)
        self._learnt: dict[tuple[str, str], Served] = {}
        self.address = chat.address
        self.failure = chat.failure

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        format = self._responses if endpoint == "responses" else self._chat
        return format.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if request.endpoint == _CHAT and self._through_responses(d, model, request):
            return self._responses.request(d, model, request)
        return self._chat.request(d, model, request)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        if isinstance(sent.note, Note):
            return self._responses.again(d, model, request, sent, refusal)
        text = refusal.message.lower()
        if request.endpoint == _CHAT and _ELSEWHERE.search(text):
            made = self._responses.request(d, model, request)
            learns = "with_tools" if _OF_TOOLS.search(text) else "always"
            return made._replace(note=made.note._replace(learns=(d.id, model, learns)), stands=refusal)
        return None if refusal.kind == "not_found" else self._chat.again(d, model, request, sent, refusal)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return self._answering(sent).plain(raw, name, sent)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return self._answering(sent).events(name, request, sent)

    def _answering(self, sent: Sent) -> Format:
        """The format that parses the response. What a refusal suggested is only remembered once the new request
        succeeds.
        """
        if not isinstance(sent.note, Note):
            return self._chat
        if sent.note.learns:
            deployment, model, when = sent.note.learns
            self._learnt[deployment, model] = when
        return self._responses

    def _through_responses(self, d: Deployment, model: str, request: Completion) -> bool:
        learnt = self._learnt.get((d.id, model)) if self._learnt else None
        when = learnt or capabilities(d, model).responses
        if when != "with_tools":
            return when == "always"
        fields = {**d.presets, **request.body} if d.presets else request.body
        return refuses_tools(d, model, fields, by_default=learnt is not None)
