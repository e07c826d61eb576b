"""The base class for formats whose streams are translated to chat completion chunks."""

from collections.abc import Mapping
from typing import Any

import orjson

from ...routing.outcome import Outcome
from .sse import DONE, Reader


class TranslatedStream:
    """Translates a provider's events one by one. Implements `Events` (answer.py).

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
        shown = {"message": outcome.message, "type": "upstream_error", "param": None, "code": "upstream_error"}
        return b"data: " + orjson.dumps({"error": shown}) + b"\n\n"

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
