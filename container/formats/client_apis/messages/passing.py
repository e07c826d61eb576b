"""Passes Anthropic's responses through to clients of the Messages API, replacing only the model name."""

import re
from typing import Any

import orjson

from ....routing.outcome import Outcome
from ...anthropic import answer
from ...anthropic.stream import read_so_far
from ...shared import failure
from ...shared.answer import Plain, json_object
from ...shared.events import MAX_EVENT_BYTES, OversizedEvent, data_of, last_end, payload, split
from .answer import event

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_SAY_NOTHING = (b"", b"[DONE]", b"null", b"[]", b"{}")
# Only events with these markers are inspected.
_LOOKED_INTO = (b"message_start", b"message_delta", b"message_stop", b'"error"', b"event: error")


def plain(raw: bytes, name: str) -> Plain | Outcome:
    body = answer.message(raw)
    if isinstance(body, Outcome):
        return body
    used = body.get("usage")
    if isinstance(body.get("model"), str) and body["model"] != name:
        raw = orjson.dumps({**body, "model": name})
    return Plain(raw, answer.usage(used) if isinstance(used, dict) else None)


def counted(raw: bytes) -> Plain | Outcome:
    """Validates a response to `count_tokens`."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    if not isinstance(body.get("input_tokens"), int):
        return Outcome("server", 0, "The provider's response has no token count.")
    return Plain(raw, None)


class PassedEvents:
    """A stream that is passed through. `name` is the model's public name."""

    def __init__(self, name: str) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._ours = b'"model":' + orjson.dumps(name)
        self._held = b""
        self._said: dict[str, Any] = {}
        self._done = False
        self._begun = False
        self._error: Outcome | None = None

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        cut = last_end(data)
        if cut < len(data):
            data, self._held = data[:cut], data[cut:]
            if len(self._held) > MAX_EVENT_BYTES:
                raise OversizedEvent
        if not self._begun and b"content_block_start" in data:
            self._begun = True
        if self.failed or self._error:
            return b""
        named = data.count(b"event:") >= data.count(b"data:")  # Anthropic names all events
        if named and not any(kind in data for kind in _LOOKED_INTO):
            return data
        return b"".join([self._look(one) for one in split(data)])

    def end(self) -> bytes:
        rest, self._held = self._held.strip(b"\r\n"), b""
        if self.failed or self._error:
            return b""
        return self._look(rest + b"\n\n") if payload(rest) is not None else b""

    def begins(self, new: bytes) -> bool | Outcome:
        return self._error or self._begun

    @property
    def cut_off(self) -> bool:
        return not (self._done or self.failed)

    def _look(self, one: bytes) -> bytes:
        if self.failed or self._error:
            return b""
        ordinary = b'"type"' in one and b"event:" in one and not any(kind in one for kind in _LOOKED_INTO)
        found = None if ordinary else payload(one)
        kind = found.get("type") if found else None
        if found is None:
            return one if ordinary else self._look_at_text(one)
        if kind == "message_stop":
            self._done = True
        elif kind == "message_start":
            message = found.get("message")
            self._count(message.get("usage") if isinstance(message, dict) else None)
            self.usage = read_so_far(self._said)
            one = _MODEL.sub(lambda m: self._ours, one, count=1)
        elif kind == "message_delta":
            self._begun = True
            self._count(found.get("usage"))
            self.usage = answer.usage(self._said)
        elif kind == "error":
            said = found.get("error")
            return self._fail(answer.error(found), said.get("type") if isinstance(said, dict) else None)
        else:
            failed = answer.unnamed_error(found)
            if failed is not None:
                return self._fail(failed)
        return one if b"event:" in one or not isinstance(kind, str) else b"event: " + kind.encode() + b"\n" + one

    def _look_at_text(self, one: bytes) -> bytes:
        """Handles an event without a JSON object: a comment, a plain text error, or data that no client can parse."""
        data = data_of(one)
        if data is None:
            return one
        if data in _SAY_NOTHING or self._done or (self._begun and b"event: error" not in one):
            return b""
        return self._fail(failure.from_error_event(data.decode("utf-8", "replace")))

    def _fail(self, outcome: Outcome, kind: Any = None) -> bytes:
        if not self._begun:
            self._error = outcome
            return b""
        self.failed = outcome
        return event("error", {"error": {"type": kind or "api_error", "message": outcome.message}})

    def _count(self, said: Any) -> None:
        if isinstance(said, dict):
            self._said.update((name, value) for name, value in said.items() if value is not None)
