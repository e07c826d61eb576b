"""Server-sent events, split and parsed. `TranslatedStream` is the base class of formats that translate each event.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ...routing.health import Outcome
from .failure import error_event

MAX_EVENT_BYTES = 32 * 1024 * 1024
# The end of a stream in OpenAI's format.
DONE = b"data: [DONE]\n\n"
# The data of events that say nothing, which clients could fail to parse.
SAY_NOTHING = (b"", b"[DONE]", b"null", b"[]", b"{}")
EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")

Event = dict[str, Any]


class OversizedEvent(Exception):
    """The provider sent an event that exceeds MAX_EVENT_BYTES."""


def split(data: bytes) -> list[bytes]:
    """Splits data into events, each including its blank line. The last one may be incomplete."""
    events, start, unix = [], 0, b"\r" not in data
    while start < len(data):
        end = next_end(data, start, unix=unix)
        events.append(data[start:end])
        start = end
    return events


def last_end(data: bytes) -> int:
    """The position after the last blank line, or 0."""
    unix, dos, mac = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n"), data.rfind(b"\r\r")
    return max(unix + 2 if unix >= 0 else 0, dos + 4 if dos >= 0 else 0, mac + 2 if mac >= 0 else 0)


def next_end(data: bytes, start: int, *, unix: bool) -> int:
    """The position after the first blank line from `start` on, or the end of the data.

    `unix` means that the data contains no carriage returns.
    """
    if unix:
        at = data.find(b"\n\n", start)
        return at + 2 if at >= 0 else len(data)
    found = EVENT_END.search(data, start)
    return found.end() if found else len(data)


def data_of(event: bytes) -> bytes | None:
    """The joined `data:` lines of an event, or None."""
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def payload(event: bytes) -> Event | None:
    """The JSON object in an event, or None."""
    if event.startswith(b"data:") and event.find(b"\n") >= len(event) - 2 and b"\r" not in event:
        data = event[5:]
    else:
        data = data_of(event)
    if data is None:
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def opening(data: bytes) -> bytes:
    """The first event that is not a keepalive comment, or b"". Expects complete events."""
    if data.startswith(b"data:"):
        end = EVENT_END.search(data)
        return data[: end.end()] if end else data
    return next((event for event in split(data) if not is_comment(event)), b"")


def is_comment(event: bytes) -> bool:
    return all(not line or line.startswith(b":") for line in event.splitlines())


class EventCutter:
    """Cuts a stream into complete events, which pass as bytes. Input may be cut anywhere."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def complete(self, data: bytes) -> bytes:
        """Returns the events completed so far. Raises OversizedEvent."""
        if self._held:
            data = self._held + data
            self._held = b""
        if not data.endswith((b"\n\n", b"\r\n\r\n")):
            cut = last_end(data)
            data, self._held = data[:cut], data[cut:]
            if len(self._held) > MAX_EVENT_BYTES:
                raise OversizedEvent
        return data

    def last(self) -> bytes:
        """Returns the last event if only its blank line is missing. An incomplete event is dropped."""
        rest, self._held = self._held.strip(b"\r\n"), b""
        return rest + b"\n\n" if payload(rest) is not None else b""


class Reader:
    """Parses the events of a stream. Input may be cut anywhere."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[Event]:
        """Returns the objects of the events completed so far. Raises OversizedEvent."""
        if self._held:
            data = self._held + data
        if b"\r" in data:
            return self._feed_slowly(data)
        *events, self._held = data.split(b"\n\n")
        if len(self._held) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return [found for event in events if (found := _object(event)) is not None]

    def end(self) -> list[Event]:
        """Returns the last event if only its blank line is missing. An incomplete event is dropped."""
        found = payload(self._held.strip(b"\r\n"))
        self._held = b""
        return [] if found is None else [found]

    def _feed_slowly(self, data: bytes) -> list[Event]:
        """Handles other line endings."""
        events = split(data)
        self._held = b""
        if events and not events[-1].endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
            self._held = events.pop()
        if len(self._held) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return [found for event in events if (found := payload(event)) is not None]


def _object(event: bytes) -> Event | None:
    """A fast path for events with a single `data:` line, which is nearly all of them."""
    at = event.find(b"data:")
    if at < 0 or event.find(b"\n", at) >= 0 or (at and event[at - 1 : at] != b"\n"):
        return payload(event)
    try:
        value = orjson.loads(event[at + 5 :])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


class TranslatedStream:
    """Translates a provider's events one by one. Implements `Events` (wire.py).

    `name` is the model's public name. `wants_usage` means that the client requested the usage chunk. `_head` and
    `_after` are the common beginning and end of all chunks.
    """

    def __init__(self, name: str, *, wants_usage: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.done = self.finished = False
        self.failed: Outcome | None = None
        self._name = name
        self._wants_usage = wants_usage
        self._reader = Reader()
        self._begun = False
        self._error: Outcome | None = None
        self._head = self._after = b""

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        return b"".join([self._translate(event) for event in self._reader.feed(data)])

    def end(self) -> bytes:
        """Returns what the last event yields, and `[DONE]` if a finished response lacks it."""
        rest = b"".join([self._translate(event) for event in self._reader.end()])
        if self.finished and not self.done and not self.failed:
            self.done = True
            rest += DONE
        return rest

    def begins(self, new: bytes) -> bool | Outcome:
        """Events before the first piece of the response do not count: the provider may still report that it is
        overloaded.
        """
        return self._error or self._begun

    @property
    def cut_off(self) -> bool:
        return not (self.done or self.finished or self.failed)

    def _translate(self, event: Mapping[str, Any]) -> bytes:
        raise NotImplementedError

    def _fail(self, outcome: Outcome) -> bytes:
        """Records a failure. If the response has begun, the client receives an error event; else another deployment
        takes over.
        """
        if not self._begun:
            self._error = outcome
            return b""
        self.failed = outcome
        return error_event(outcome)

    def _opened_with(self, head: Mapping[str, Any]) -> None:
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":[{"index":0,"delta":'
        self._after = b',"finish_reason":null}]}\n\n'

    def _chunk(self, delta: Mapping[str, Any], more: bytes = b"") -> bytes:
        return self._head + orjson.dumps(delta) + more + self._after

    def _usage_chunk(self) -> bytes:
        """The usage chunk, which has no choices. Empty if the client did not request it."""
        if not self._wants_usage:
            return b""
        opening = self._head.split(b'"choices":', 1)[0]
        return opening + b'"choices":[],"usage":' + orjson.dumps(self.usage) + b"}\n\n"
