"""A provider's event stream on its way to the client: the bytes as they came, but for three things.

- `"model":"…"` becomes the name the client asked for;
- the usage chunk is dropped when it was we who asked for it;
- usage, errors and the end are noticed.

An event that has not ended is held back until it has: no client can act on half an event, and a comment line may then
be sent at any time without landing inside one. Nothing is parsed but chunks that can carry usage.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from ..routing.outcome import Outcome
from .failure import from_error_event
from .sse import EVENT_END, MAX_EVENT_BYTES, OversizedEvent, is_comment, last_end, opening, payload, split

MAX_LEARNT = 1000
_learnt: dict[str, tuple[bytes, bytes]] = {}

_MODEL = re.compile(rb'"model"(\s*:\s*)"(?:[^"\\]|\\.)*"')
_DELTA = b'"delta":{'
_NEAR = 200  # bytes behind the model's name in which an ordinary event says nothing of its own yet
_OF_INTEREST = (b"\n", b"\r", b'"usage"', b'"error"', b'"finish_reason"', b"[DONE]")


class EventStream:
    """Feed it what the provider sends; it returns what the client gets.

    `usage`: the last usage seen; `done`: `[DONE]` was seen; `finished`: a finish_reason was; `failed`: what an
    error event said.
    """

    def __init__(self, model: str, *, drop_usage: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.done = False
        self.finished = False
        self.failed: Outcome | None = None
        self._model = model
        self._name = orjson.dumps(model)
        self._drop_usage = drop_usage
        self._held = b""
        # Streams of one model name it alike, so what one has learnt serves the next.
        self._needle, self._ours = _learnt.get(model, (b"", b""))
        self._opening = b""
        self._our_opening = b""

    def feed(self, data: bytes) -> bytes:
        """The complete events so far; empty while none is. Raises OversizedEvent."""
        if self._held:
            data = self._held + data
            self._held = b""
        if not data.endswith((b"\n\n", b"\r\n\r\n")):
            cut = last_end(data)
            self._held = data[cut:]
            if len(self._held) > MAX_EVENT_BYTES:
                raise OversizedEvent
            data = data[:cut]
            if not data:
                return data
        return self._rewrite(data)

    def end(self) -> bytes:
        """What is left when the provider has closed: an event whose blank line never came. Half an event is dropped."""
        data, self._held = self._held.strip(b"\r\n"), b""
        whole = payload(data) is not None or _DONE.search(data) or (data and is_comment(data))
        return self._rewrite(data + b"\n\n") if whole else b""

    def begins(self, new: bytes) -> bool | Outcome:
        """Whether the answer has begun with `new`, what was returned last; an Outcome when it is an error instead.

        Comments, as providers send them to keep a connection open, are not the beginning."""
        first = opening(new)
        if not first:
            return False
        error = first_error(first)
        return True if error is None else from_error_event(error)

    @property
    def cut_off(self) -> bool:
        """Whether what came so far is no whole answer."""
        return not (self.done or self.finished or self.failed)

    def _rewrite(self, data: bytes) -> bytes:
        opening = self._opening
        if opening:
            # The events of a stream mostly open alike, down to the model's name: what has been looked at once is not
            # searched again, and the rest says whether there is anything to look at.
            parts = data.split(opening)
            if len(parts) > 1 and self._is_ordinary(b" ".join(parts)):
                return self._our_opening.join(parts)
        rewritten = self._look_into(data)
        self._remember_opening(data)
        return rewritten

    def _is_ordinary(self, rest: bytes) -> bool:
        """Whether events without their openings are nothing but pieces of an answer."""
        if b'"model"' in rest or b'"error"' in rest or b"[DONE]" in rest:
            return False
        if not self.finished and rest.count(b'"finish_reason"') != rest.count(b'"finish_reason":null'):
            return False
        return rest.count(b'"usage"') == rest.count(b'"usage":null')

    def _remember_opening(self, data: bytes) -> None:
        """Of the first event that names the model, if there is nothing else of interest in it so far."""
        at = data.find(self._needle) if self._needle else -1
        start = data.rfind(b"data:", 0, at) if at > 0 else -1
        if start < 0 or (start > 0 and data[start - 1] not in b"\r\n"):
            return
        end = at + len(self._needle)
        delta = data.find(_DELTA, end, end + _NEAR)
        opening = data[start : end if delta < 0 else delta + len(_DELTA)]
        if opening.count(b'"model"') == 1 and not any(what in opening for what in _OF_INTEREST):
            self._opening = opening
            self._our_opening = opening.replace(self._needle, self._ours)

    def _look_into(self, data: bytes) -> bytes:
        mentions = data.count(b'"usage"')
        if mentions and mentions != data.count(b'"usage":null'):
            data = self._take_usage(data)
        names = data.count(b'"model"')
        if names:
            if data.count(self._needle) != names or not self._needle:
                data = self._learn(data)
            elif self._needle != self._ours:
                data = data.replace(self._needle, self._ours)
        if not self.finished and b'"finish_reason"' in data:
            self.finished = _FINISH.search(data) is not None
        if b"[DONE]" in data and _DONE.search(data):
            self.done = True
        if b'"error"' in data and self.failed is None:
            errors = (error for event in split(data) if (error := first_error(event)) is not None)
            self.failed = next(map(from_error_event, errors), None)
        return data

    def _learn(self, data: bytes) -> bytes:
        found = _MODEL.search(data)
        if found is None:
            return data
        self._needle = found[0]
        self._ours = b'"model"' + found[1] + self._name
        if len(_learnt) < MAX_LEARNT:
            _learnt[self._model] = self._needle, self._ours
        if data.count(self._needle) == data.count(b'"model"'):
            return data.replace(self._needle, self._ours)
        return _MODEL.sub(lambda m: b'"model"' + m[1] + self._name, data)

    def _take_usage(self, data: bytes) -> bytes:
        """Reads the usage out of the events that carry one; those that carry nothing else go when nobody asked."""
        kept, start = [], 0
        for begin, end in _events_with_usage(data):
            chunk = payload(data[begin:end])
            usage = chunk.get("usage") if chunk else None
            if not isinstance(usage, dict) or chunk is None:
                continue
            self.usage = usage
            if self._drop_usage and _says_nothing(chunk.get("choices")):
                kept.append(data[start:begin])
                start = end
        return b"".join((*kept, data[start:])) if kept else data


def _says_nothing(choices: Any) -> bool:
    """No choices, or as the engine sends them: `[{"index": 0, "delta": {}}]`."""
    return isinstance(choices, list) and all(
        isinstance(c, dict) and not c.get("delta") and not c.get("finish_reason") and not c.get("text") for c in choices
    )


def _events_with_usage(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the events begin and end that speak of a usage that is not null."""
    at, done = data.find(b'"usage"'), 0
    while at >= 0:
        if at >= done and not data.startswith(b":null", at + 7):
            begin = last_end(data[:at])
            blank = EVENT_END.search(data, at)
            done = blank.end() if blank else len(data)
            yield begin, done
        at = data.find(b'"usage"', at + 7)


_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")


def first_error(event: bytes) -> dict[str, Any] | None:
    """The error that an event reports, as `{"message": …}`, or None when it is none."""
    chunk = payload(event) if b'"error"' in event else None
    if chunk is None or not chunk.get("error") or chunk.get("choices"):
        return None
    error = chunk["error"]
    return error if isinstance(error, dict) else {"message": str(error)}
