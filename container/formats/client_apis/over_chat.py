"""Serves a client's API with models that have chat completions: the parts that every such API needs."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from ...config.deployment import Deployment
from ...request.completion import Completion
from ...routing.health import Outcome
from ..shared import mock
from ..shared.chat_stream import EventStream
from ..shared.events import Reader
from ..shared.wire import UNEXPECTED, UNREADABLE, Answer, Events, Format, Plain, Sent, Stream

CHAT = "chat_completions"


class Api(Protocol):
    """Translates one API to and from chat completions. `asked` is what a response needs to know of its request."""

    def chat(self, request: Completion, d: Deployment, model: str, *, drop_params: bool) -> tuple[Completion, Any]:
        """Returns the chat request and `asked`. Raises Malformed and Unsupported."""
        ...

    def response(self, body: Mapping[str, Any], name: str, asked: Any) -> dict[str, Any]:
        """Translates a complete chat response. May raise any of UNEXPECTED."""
        ...

    def events(self, inner: Events, name: str, asked: Any) -> Events: ...


class AsChat(NamedTuple):
    """How a request was sent. `inner` and `request` are the request at the deployment's own format. `learns` is for the
    API's own use.
    """

    inner: Sent
    request: Completion
    asked: Any
    learns: Any = None


class OverChat:
    """Translates requests to chat completions. `inner` is the format of the deployment's chat completions."""

    def __init__(self, api: Api, inner: Format, *, drop_params: bool) -> None:
        self._api = api
        self._inner = inner
        self._drop_params = drop_params
        self.address = inner.address
        self.failure = inner.failure

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return self._inner.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        as_chat, asked = self._api.chat(request, d, model, drop_params=self._drop_params)
        return _wrapped(self._inner.request(d, model, as_chat), AsChat(Sent(b""), as_chat, asked))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        note: AsChat = sent.note
        other = self._inner.again(d, model, note.request, note.inner, refusal)
        return None if other is None else _wrapped(other, note)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        note: AsChat = sent.note
        answer = self._inner.plain(raw, name, note.inner)
        return _response(self._api, answer, name, note.asked) if isinstance(answer, Plain) else answer

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        note: AsChat = sent.note
        return self._api.events(self._inner.events(name, note.request, note.inner), name, note.asked)


def _wrapped(inner: Sent, note: AsChat) -> Sent:
    return inner._replace(note=note._replace(inner=inner), endpoint=inner.endpoint or CHAT)


def _response(api: Api, answer: Plain, name: str, asked: Any) -> Plain | Outcome:
    try:
        return Plain(orjson.dumps(api.response(orjson.loads(answer.body), name, asked)), answer.usage)
    except UNEXPECTED:
        return UNREADABLE


def mocked(api: Api, d: Deployment, request: Completion, name: str) -> Answer:
    """The response of a mock model. Raises Malformed and Unsupported."""
    as_chat, asked = api.chat(request, d, d.model, drop_params=True)
    answer = mock.answer(d, as_chat, name)
    if isinstance(answer, Plain):
        return _response(api, answer, name, asked)
    if isinstance(answer, Outcome):
        return answer
    inner = EventStream(name, drop_usage=True)
    inner.usage = answer.events.usage
    events = api.events(inner, name, asked)
    return Stream(events.feed(answer.first), _told(answer.rest, events), events)


async def _told(rest: AsyncGenerator[bytes], events: Events) -> AsyncGenerator[bytes]:
    async for data in rest:
        yield events.feed(data)
    yield events.end()


class EventsOfChat:
    """Translates a stream of chat completions. `inner` turns the provider's stream into chat completion chunks.

    A subclass sets `_started` once it has returned an event.
    """

    def __init__(self, inner: Events) -> None:
        self._inner = inner
        self._reader = Reader()
        self._begun: bool | Outcome = False
        self._failed: Outcome | None = None
        self._started = self._ended = False

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._inner.usage

    @property
    def failed(self) -> Outcome | None:
        return self._failed or self._inner.failed

    @property
    def cut_off(self) -> bool:
        return not self._failed and self._inner.cut_off

    def begins(self, new: bytes) -> bool | Outcome:
        return self._begun

    def feed(self, data: bytes) -> bytes:
        return self._told(self._inner.feed(data))

    def end(self) -> bytes:
        told = self._told(self._inner.end())
        if self._ended or self.failed or self._begun is not True or self._inner.cut_off:
            return told
        self._ended = True
        return told + self._last(self._inner.usage)  # providers send the usage after the finish reason

    def _told(self, chunks: bytes) -> bytes:
        if self._failed:
            return b""
        if self._begun is not True:
            self._begun = self._inner.begins(chunks)
        if not chunks:
            return b""
        told: list[bytes] = []
        for chunk in self._parsed(chunks, told):
            started = self._started
            try:
                told.append(self._chunk(chunk))
            except UNEXPECTED:
                if not started:  # another deployment can take over
                    self._begun = UNREADABLE
                    return b""
                self._failed = UNREADABLE
                told.append(self._failure(UNREADABLE))
                break
        return b"".join(told)

    def _parsed(self, chunks: bytes, told: list[bytes]) -> list[dict[str, Any]]:
        """Parses the chunks. A subclass may translate some without parsing, and add their events to `told`."""
        return self._reader.feed(chunks)

    def _chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """Translates a chunk. May raise any of UNEXPECTED."""
        raise NotImplementedError

    def _last(self, said: Mapping[str, Any] | None) -> bytes:
        """The events that end a complete response. `said` is the usage."""
        raise NotImplementedError

    def _failure(self, outcome: Outcome) -> bytes:
        """The events that report a failure in the middle of a response."""
        raise NotImplementedError
