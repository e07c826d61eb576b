"""Gemini's API for clients.

Requests for Gemini are passed through (native.py). For other models they are translated to chat completions, or to
OpenAI's embeddings, and tokens are counted here.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

import orjson

from worker.core.pricing.generate_content import COUNT, EMBEDDINGS

from ....config.deployment import Deployment
from ....request.completion import Completion
from ....routing.outcome import Outcome
from ...shared import mock
from ...shared.answer import UNEXPECTED, UNREADABLE, Answer, Events, Plain, Stream
from ...shared.events import EventStream
from ...shared.format import Format, Malformed, Sent
from ...shared.prepare import Address
from .answer import ContentEvents, response
from .counting import counted
from .embeddings import OverEmbeddings, translated, vectors
from .native import ToGemini
from .request import SAMPLING, chat

__all__ = ["ENDPOINTS", "OverChat", "OverEmbeddings", "ToGemini", "counted", "mocked"]

ENDPOINTS = frozenset(("generate_content", COUNT)) | EMBEDDINGS
# Derived from fields that Gemini's clients send to every model, so they are dropped if a server refuses them.
_GUIDING = ("reasoning_effort", *SAMPLING)


class OverChat:
    """Translates requests to chat completions. `inner` is the format of the deployment's chat completions."""

    def __init__(self, inner: Format, *, drop_params: bool) -> None:
        self._inner = inner
        self._drop_params = drop_params

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._inner.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        inner = "chat_completions" if endpoint in ENDPOINTS else endpoint
        return self._inner.url(d, base, model, inner, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        as_chat = _as_chat(request, d, model, drop_params=self._drop_params)
        return self._wrapped(self._inner.request(d, model, as_chat), as_chat)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        inner, as_chat = sent.note
        other = self._inner.again(d, model, as_chat, inner, refusal)
        return None if other is None else self._wrapped(other, as_chat)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        answer = self._inner.plain(raw, name, sent.note[0])
        return _as_response(answer, name) if isinstance(answer, Plain) else answer

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        inner, as_chat = sent.note
        return ContentEvents(self._inner.events(name, as_chat, inner), name)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._inner.failure(status, headers, raw)

    def _wrapped(self, inner: Sent, as_chat: Completion) -> Sent:
        return inner._replace(note=(inner, as_chat))


def mocked(d: Deployment, request: Completion, name: str) -> Answer:
    """The response of a mock model. Raises Unsupported."""
    if request.endpoint == COUNT:
        return counted(d, d.model, request)
    if request.endpoint in EMBEDDINGS:
        made = mock.answer(d, translated(request), name)
        return vectors(made, batch="requests" in request.body) if isinstance(made, Plain) else made
    answer = mock.answer(d, _as_chat(request, d, d.model, drop_params=True), name)
    if isinstance(answer, Plain):
        return _as_response(answer, name)
    if isinstance(answer, Outcome):
        return answer
    inner = EventStream(name, drop_usage=True)
    inner.usage = answer.events.usage
    events = ContentEvents(inner, name)
    return Stream(events.feed(answer.first), _told(answer.rest, events), events)


async def _told(rest: AsyncGenerator[bytes], events: ContentEvents) -> AsyncGenerator[bytes]:
    async for data in rest:
        yield events.feed(data)
    yield events.end()


def _as_chat(request: Completion, d: Deployment, model: str, *, drop_params: bool) -> Completion:
    try:
        body = chat(request.body, d, model, drop_params=drop_params)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Malformed("contents", "The request is not valid for Gemini's API: check contents and tools.") from error
    if request.stream:
        body["stream"] = True
    optional = tuple(name for name in _GUIDING if name in body)
    return replace(request, endpoint="chat_completions", body=body, client_wants_usage=False, optional=optional)


def _as_response(answer: Plain, name: str) -> Plain | Outcome:
    try:
        return Plain(orjson.dumps(response(orjson.loads(answer.body), name)), answer.usage)
    except UNEXPECTED:
        return UNREADABLE
