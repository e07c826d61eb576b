"""Serves a client's API with models that have chat completions: the parts that every such API needs."""

from collections.abc import Mapping
from typing import Any

from ...routing.outcome import Outcome
from ..shared.answer import UNEXPECTED, UNREADABLE, Events
from ..shared.sse import Reader


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
