"""Translates Gemini's stream to chat completion chunks, event by event.

Each event is a complete response object with the next piece of each candidate. There is no `[DONE]`: the response is
complete when every candidate has its `finishReason`.
https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from typing import Any

import orjson

from worker.core.api.errors import upstream_failed

from ...routing.outcome import Outcome
from ..shared.answer import UNEXPECTED, UNREADABLE
from ..shared.events import Event, Reader
from . import answer


class _Broken(Exception):
    """A candidate ended in a failure."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class GeminiEvents:
    """An `Events` (container/formats/shared/answer.py).

    `wants_usage` means that the client requested a usage chunk. `created` is in seconds since the epoch. `fetches` is
    as in `answer.usage`.
    """

    def __init__(self, name: str, created: int, *, wants_usage: bool, fetches: bool = False) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._created = created
        self._wants_usage = wants_usage
        self._fetches = fetches
        self._grounded = answer.NOT_GROUNDED
        self._reader = Reader()
        self._head = b""  # the start of every chunk, up to its choices
        self._refusal: Outcome | None = None  # an error before the response has begun
        self._calls: dict[int, int] = {}  # the number of calls made so far, by candidate
        self._ended: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        return self._translated(self._reader.feed(data))

    def end(self) -> bytes:
        said = self._translated(self._reader.end())
        if self.cut_off or self.failed or self._refusal:
            return said
        if self._wants_usage and self.usage is not None:
            said += self._chunk([], b',"usage":' + orjson.dumps(self.usage))
        return said + b"data: [DONE]\n\n"

    def begins(self, new: bytes) -> bool | Outcome:
        return self._refusal or bool(new)

    @property
    def cut_off(self) -> bool:
        return not self.failed and (not self._calls or self._ended != self._calls.keys())

    def _translated(self, events: list[Event]) -> bytes:
        chunks = []
        for said in events:
            if self.failed or self._refusal:
                break
            failed = answer.instead_of_answer(said)
            try:
                chunks.append(self._event(said) if failed is None else self._failure(failed))
            except _Broken as found:
                chunks.append(self._failure(found.outcome))
            except UNEXPECTED:
                chunks.append(self._failure(UNREADABLE))
        return b"".join(chunks)

    def _failure(self, failed: Outcome) -> bytes:
        """Records a failure. If the response has begun, the client receives an error event; else another deployment
        takes over.
        """
        if not self._calls:
            self._refusal = failed
            return b""
        self.failed = failed
        return b"data: " + orjson.dumps(upstream_failed(502, failed.message).fields()) + b"\n\n"

    def _event(self, said: Event) -> bytes:
        self._grounded = answer.grounded_by(said, self._grounded)
        used = answer.usage(said, fetches=self._fetches, grounded=self._grounded)
        if used is not None:
            self.usage = used
        if not self._head:
            self._head = self._begin(said)
        found = answer.candidates(said)
        choices = [choice for index, candidate in found for choice in self._choices(index, candidate)]
        if not choices:
            return b""
        sources = answer.grounding(found)
        more = b"," + orjson.dumps(sources)[1:-1] if sources else b""
        return self._chunk(choices[:1], more) + b"".join(self._chunk([c]) for c in choices[1:])

    def _choices(self, index: int, candidate: dict[str, Any]) -> list[dict[str, Any]]:
        """The candidate's content and, in a separate chunk, its finish reason."""
        reason = candidate.get("finishReason")
        begun = index in self._calls
        broken = answer.broken(candidate, said=begun) if reason else None
        if broken is not None:
            raise _Broken(broken)
        delta = answer.delta(candidate, self._calls.get(index, 0))
        self._calls[index] = self._calls.get(index, 0) + len(delta.get("tool_calls") or ())
        choices: list[dict[str, Any]] = []
        if not begun:
            delta = {"role": "assistant", "content": None, **delta}
        if delta:
            choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
            probabilities = answer.logprobs(candidate)
            if probabilities is not None:
                choice["logprobs"] = probabilities
            choices.append(choice)
        if reason:
            self._ended.add(index)
            finish = answer.finish(reason, called=self._calls[index] > 0)
            choices.append({"index": index, "delta": {}, "finish_reason": finish})
        return choices

    def _begin(self, said: Event) -> bytes:
        head = {
            "id": answer.identity(said),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._name,
        }
        return b"data: " + orjson.dumps(head)[:-1] + b',"choices":'

    def _chunk(self, choices: list[dict[str, Any]], more: bytes = b"") -> bytes:
        return self._head + orjson.dumps(choices) + more + b"}\n\n"
