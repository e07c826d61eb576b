"""Passes responses of OpenAI's Responses API through, replacing only the model name.

Deltas pass unparsed. The events that describe the whole response (created, in progress, completed) are parsed, because
they have the model name, the usage and failures. https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ....routing.outcome import Outcome
from ...responses import answer
from ...shared import failure
from ...shared.answer import UNEXPECTED, UNREADABLE, Plain, json_object
from ...shared.events import MAX_EVENT_BYTES, OversizedEvent, data_of, last_end, payload, split
from ...shared.tool_identifiers import names_given_back
from . import failed
from .whole import events_of

_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_SAY_NOTHING = (b"", b"[DONE]", b"null", b"[]", b"{}")
# Events of a response that has not begun: it is queued or accepted. Another deployment can still take over.
_BEFORE_IT_BEGINS = frozenset(("response.created", "response.in_progress", "response.queued"))
_ENDS = frozenset(("response.completed", "response.incomplete"))
_FAILS = frozenset(("response.failed", "response.cancelled", "error"))
# Only events with these markers are inspected.
_LOOKED_INTO = (b'"response"', b'"error"', b"event: error")


def plain(raw: bytes, name: str) -> Plain | Outcome:
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    refused = failed_response(body)
    if refused is not None:
        return refused
    try:
        used = answer.usage(body.get("usage"), body["output"])
    except UNEXPECTED:
        return UNREADABLE
    if body.get("model") != name:
        body["model"] = name
        raw = orjson.dumps(body)
    return Plain(raw, used)


def failed_response(body: Mapping[str, Any]) -> Outcome | None:
    """The failure that a complete response describes, or None."""
    said = body.get("error")
    if said:
        return answer.error(said)
    if body.get("status") in ("failed", "cancelled") or not isinstance(body.get("output"), list):
        return Outcome("server", 0, "The provider's response has no output.", unread=bool(body.get("usage")))
    return None


class PassedEvents:
    """A stream that is passed through. `name` is the model's public name. `names` are the client's tool names by the
    names sent.
    """

    def __init__(self, name: str, names: Mapping[str, str] | None = None) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._names = names or {}
        self._held = b""
        self._response: dict[str, Any] = {}  # the response as it was when it began
        self._last = b""  # what was passed last
        self._done = False
        self._begun = False
        self._error: Outcome | None = None

    def feed(self, data: bytes) -> bytes:
        passed = self._passed(data)
        return names_given_back(passed, self._names) if self._names else passed

    def _passed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        if not data.endswith((b"\n\n", b"\r\n\r\n")):
            cut = last_end(data)
            data, self._held = data[:cut], data[cut:]
            if len(self._held) > MAX_EVENT_BYTES:
                raise OversizedEvent
        if self.failed or self._error or self._done:
            return b""
        if self._begun and not any(marker in data for marker in _LOOKED_INTO) and b"[DONE]" not in data:
            if data:
                self._last = data
            return data
        passed: list[bytes] = []
        for one in split(data):
            passed.append(self._look(one))
            self._last = passed[-1] or self._last
        return b"".join(passed)

    def end(self) -> bytes:
        rest, self._held = self._held.strip(b"\r\n"), b""
        if self.failed or self._error or self._done:
            return b""
        return names_given_back(self._look(rest + b"\n\n"), self._names) if payload(rest) is not None else b""

    def begins(self, new: bytes) -> bool | Outcome:
        return self._error or self._begun

    @property
    def cut_off(self) -> bool:
        return not (self._done or self.failed)

    def broken(self, outcome: Outcome) -> bytes:
        """The events that tell the client of a stream that broke off."""
        numbers = _NUMBER.findall(self._last)
        return failed.events(self._response, outcome, int(numbers[-1]) + 1 if numbers else 0)

    def _look(self, one: bytes) -> bytes:
        if self.failed or self._error or self._done:
            return b""
        if self._begun and not any(marker in one for marker in _LOOKED_INTO):
            return one if b"[DONE]" not in one or payload(one) is not None else b""
        found = payload(one)
        if found is None:
            return self._look_at_text(one)
        try:
            return self._look_at(found, one)
        except UNEXPECTED:
            return self._fail(UNREADABLE)

    def _look_at(self, found: dict[str, Any], one: bytes) -> bytes:
        kind = found.get("type")
        if kind in _BEFORE_IT_BEGINS or kind in _ENDS:
            return self._described(str(kind), found, one)
        if kind in _FAILS:
            return self._fail(_failure(found))
        if kind is None and found.get("object") == "response":
            return self._whole(found)
        if kind is None and found.get("error"):
            return self._fail(failure.from_error_event(found))
        self._begun = True
        return one

    def _described(self, kind: str, event: dict[str, Any], one: bytes) -> bytes:
        """Handles an event with the whole response."""
        response = event.get("response")
        if not isinstance(response, dict):
            return one
        if kind in _ENDS and response.get("error"):
            return self._fail(_failure(event))
        self.usage = answer.usage(response.get("usage"), response.get("output")) or self.usage
        if kind in _ENDS:
            self._done = self._begun = True
        else:
            self._response = response
        if response.get("model") == self._name:
            return one
        response["model"] = self._name
        return failed.event(kind, event)

    def _whole(self, response: dict[str, Any]) -> bytes:
        """Makes a stream of a response that was not streamed."""
        refused = failed_response(response)
        if refused is not None:
            return self._fail(refused)
        self.usage = answer.usage(response.get("usage"), response.get("output"))
        made = events_of({**response, "model": self._name})
        self._done = self._begun = True
        return made

    def _look_at_text(self, one: bytes) -> bytes:
        """Handles an event without a JSON object: a comment, a plain text error, or data that no client can parse."""
        data = data_of(one)
        if data is None:
            return one
        if data in _SAY_NOTHING or (self._begun and b"event: error" not in one):
            return b""
        return self._fail(failure.from_error_event(data.decode("utf-8", "replace")))

    def _fail(self, outcome: Outcome) -> bytes:
        if not self._begun:
            self._error = outcome
            return b""
        self.failed = outcome
        return self.broken(outcome)


def _failure(event: Mapping[str, Any]) -> Outcome:
    """Reads an error: `response.failed` has it in its response, and `error` in a field or as the event itself."""
    response = event.get("response")
    if isinstance(response, dict):
        said = response.get("error") or {"message": "The provider could not complete the response."}
    else:
        said = event.get("error") or event
    if isinstance(said, dict) and said.get("type") == "error":
        said = {name: value for name, value in said.items() if name != "type"}
    return answer.error(said)
