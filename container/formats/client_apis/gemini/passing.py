"""Passes Gemini's responses through to clients of its own API, replacing only the model's name."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ....routing.outcome import Outcome
from ...gemini import answer
from ...shared.answer import UNEXPECTED, UNREADABLE, Plain, json_object
from ...shared.events import MAX_EVENT_BYTES, OversizedEvent, last_end, payload, split
from .answer import error_event

_VERSION = re.compile(rb'"modelVersion"\s*:\s*"(?:[^"\\]|\\.)*"')


def plain(raw: bytes, name: str, *, fetches: bool) -> Plain | Outcome:
    """`name` is the model's public name, `fetches` is as in `answer.usage`."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    try:
        failed = _failure(body, begun=False)
        if failed is not None:
            return failed
        if not answer.candidates(body):
            return Outcome("server", 0, "The provider's response has no candidates.")
        return Plain(_renamed(raw, body, name), answer.usage(body, fetches=fetches))
    except UNEXPECTED:
        return UNREADABLE


def result(raw: bytes, field: str, kind: type) -> Plain | Outcome:
    """A response to another method, which has `field`."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    if not isinstance(body.get(field), kind):
        return answer.instead_of_answer(body) or Outcome("server", 0, f"The provider's response has no '{field}'.")
    return Plain(raw, None)


def _failure(said: Mapping[str, Any], *, begun: bool) -> Outcome | None:
    failed = answer.instead_of_answer(said)
    if failed is not None:
        return failed
    failures = [answer.broken(c, said=begun) for _, c in answer.candidates(said) if c.get("finishReason")]
    return failures[0] if failures and all(failures) else None


def _renamed(raw: bytes, said: Mapping[str, Any], name: str) -> bytes:
    theirs = said.get("modelVersion")
    if theirs is None or theirs == name:
        return raw
    found = _VERSION.findall(raw)
    if len(found) == 1:
        return raw.replace(found[0], b'"modelVersion":' + orjson.dumps(name))
    return orjson.dumps({**said, "modelVersion": name})


class PassedContent:
    """A stream that is passed through. An `Events` (container/formats/shared/answer.py)."""

    def __init__(self, name: str, *, fetches: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._fetches = fetches
        self._grounded = answer.NOT_GROUNDED
        self._held = b""
        self._refusal: Outcome | None = None
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        data = self._held + data
        cut = last_end(data)
        data, self._held = data[:cut], data[cut:]
        if len(self._held) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return b"".join([self._event(one) for one in split(data)])

    def end(self) -> bytes:
        rest, self._held = self._held.strip(b"\r\n"), b""
        return self._event(rest) if payload(rest) is not None else b""

    def begins(self, new: bytes) -> bool | Outcome:
        return self._refusal or bool(self._begun)

    @property
    def cut_off(self) -> bool:
        return not self.failed and (not self._begun or self._ended != self._begun)

    def _event(self, one: bytes) -> bytes:
        said = None if self.failed or self._refusal else payload(one)
        if said is None:
            return b""
        try:
            failed = _failure(said, begun=bool(self._begun))
            if failed is not None:
                return self._fail(failed)
            for index, candidate in answer.candidates(said):
                self._begun.add(index)
                if candidate.get("finishReason"):
                    self._ended.add(index)
            self._grounded = answer.grounded_by(said, self._grounded)
            self.usage = answer.usage(said, fetches=self._fetches, grounded=self._grounded) or self.usage
            raw = one.strip(b"\r\n")
            simple = raw.startswith(b"data:") and b"\n" not in raw and b"\r" not in raw
            data = raw[5:].strip() if simple else orjson.dumps(said)
            return b"data: " + _renamed(data, said, self._name) + b"\n\n"
        except UNEXPECTED:
            return self._fail(UNREADABLE)

    def _fail(self, outcome: Outcome) -> bytes:
        if not self._begun:
            self._refusal = outcome
            return b""
        self.failed = outcome
        return error_event(outcome.message)
