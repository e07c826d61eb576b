"""What a request records for the request log and for its trace, if they are enabled."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..routing.outcome import Outcome
from ..routing.router import Try


class Capture:
    """The first `most` bytes of the request and response bodies, and their full sizes.

    `events`: the response is an event stream.
    """

    __slots__ = ("_most", "answer", "answer_size", "asked", "asked_size", "events")

    def __init__(self, most: int) -> None:
        self._most = most
        self.asked = b""
        self.asked_size = 0
        self.answer: list[bytes] = []
        self.answer_size = 0
        self.events = False

    def request(self, raw: bytes) -> None:
        self.asked, self.asked_size = raw[: self._most], len(raw)

    def answered(self, data: bytes) -> None:
        room = self._most - self.answer_size
        self.answer_size += len(data)
        if room > 0:
            self.answer.append(data[:room])


class TraceContext(NamedTuple):
    """`trace`: 16 bytes. `parent`: the client's span, 8 bytes, or empty if the trace starts here."""

    trace: bytes
    parent: bytes = b""


class Attempt(NamedTuple):
    """A finished attempt. Times are on `time.monotonic`; `used` is the usage as the provider reported it."""

    step: Try
    outcome: Outcome
    began: float
    ended: float
    stream: bool
    used: Mapping[str, Any] | None


class Trace:
    """The attempts of one request."""

    __slots__ = ("attempts", "context")

    def __init__(self, context: TraceContext) -> None:
        self.context = context
        self.attempts: list[Attempt] = []

    def attempted(self, step: Try, outcome: Outcome, began: float, noted: Mapping[str, Any]) -> None:
        """Record an attempt that has just ended. `noted`: the fields that are also logged."""
        stream, used = bool(noted.get("stream")), noted.get("usage")
        self.attempts.append(Attempt(step, outcome, began, time.monotonic(), stream, used))
