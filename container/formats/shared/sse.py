"""Server-sent events: splitting, parsing, and a reader for translated formats.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from typing import Any

import orjson

MAX_EVENT_BYTES = 32 * 1024 * 1024
# The end of a stream in OpenAI's format.
DONE = b"data: [DONE]\n\n"
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
