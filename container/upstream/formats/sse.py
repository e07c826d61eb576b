"""Server-sent events taken apart into the JSON objects that they carry, fed as they come.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from typing import Any

import orjson

from ..events import MAX_EVENT_BYTES, OversizedEvent, payload, split

Event = dict[str, Any]


class Reader:
    """For formats that translate: `feed` returns the objects of the events that are complete."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[Event]:
        """Raises OversizedEvent."""
        if self._held:
            data = self._held + data
        if b"\r" in data:
            return self._feed_slowly(data)
        *events, self._held = data.split(b"\n\n")
        if len(self._held) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return [found for event in events if (found := _object(event)) is not None]

    def end(self) -> list[Event]:
        """The last event, whose blank line never came; half an event is dropped."""
        found = payload(self._held.strip(b"\r\n"))
        self._held = b""
        return [] if found is None else [found]

    def _feed_slowly(self, data: bytes) -> list[Event]:
        """Lines that end otherwise."""
        events = split(data)
        self._held = b""
        if events and not events[-1].endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
            self._held = events.pop()
        if len(self._held) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return [found for event in events if (found := payload(event)) is not None]


def _object(event: bytes) -> Event | None:
    """The quick way for an event of one `data:` line, which is what there is."""
    at = event.find(b"data:")
    if at < 0 or event.find(b"\n", at) >= 0 or (at and event[at - 1 : at] != b"\n"):
        return payload(event)
    try:
        value = orjson.loads(event[at + 5 :])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
