"""What the streams of formats have in common that are translated into chunks of a chat completion one by one."""

from collections.abc import Mapping
from typing import Any

import orjson

from ...routing.outcome import Outcome
from .sse import Reader

DONE = b"data: [DONE]\n\n"


class TranslatedStream:
    """An `Events` (answer.py). `name`: the model's public name; `wants_usage`: the client has asked
    for the usage chunk. `_head` and `_after` are what every chunk begins and ends with."""

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
        rest = b"".join([self._translate(event) for event in self._reader.end()])
        if self.finished and not self.done and not self.failed:
            self.done = True
            rest += DONE
        return rest

    def begins(self, new: bytes) -> bool | Outcome:
        """What comes before the first piece of an answer is none yet: a provider may say then that it is overloaded."""
        return self._error or self._begun

    @property
    def cut_off(self) -> bool:
        return not (self.done or self.finished or self.failed)

    def _translate(self, event: Mapping[str, Any]) -> bytes:
        raise NotImplementedError

    def _fail(self, outcome: Outcome) -> bytes:
        """Before the answer has begun another deployment can take over; after that the client is told."""
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
        """Of no choices; empty for a client that has not asked for it."""
        if not self._wants_usage:
            return b""
        opening = self._head.split(b'"choices":', 1)[0]
        return opening + b'"choices":[],"usage":' + orjson.dumps(self.usage) + b"}\n\n"
