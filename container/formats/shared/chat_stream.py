"""A stream in OpenAI's format, rewritten for the client (`EventStream`), which leaves most bytes unchanged. Pieces
that are alike pass without being parsed (`Alike`).
"""

import re
from typing import Any

import orjson

from worker.core.pricing.usage import with_details

from ...routing.health import Outcome
from .events import DONE, MAX_EVENT_BYTES, OversizedEvent, data_of, is_comment, last_end, next_end, payload
from .failure import error_event, from_error_event, words
from .mend import ORDINARY_FINISH, ChunkMender, failure_in

MAX_LEARNT = 1000
_learnt: dict[str, tuple[bytes, bytes]] = {}

_MODEL = re.compile(rb'"model"(\s*:\s*)"(?:[^"\\]|\\.)*"')


class EventStream:
    """Turns the provider's bytes into events for the client.

    `usage` is the latest usage seen. `done` is set after `[DONE]`, `finished` after a finish_reason, and `failed` after
    an error event.
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
        self._begun = False
        self._refusal: Outcome | None = None  # an error before the response has begun
        self._over = False  # the stream has failed or ended
        self._first: dict[str, Any] = {}  # metadata from the chunk with which the response began
        self._mender = ChunkMender()
        # All streams of a model name it alike, so a needle learned from one stream serves the next.
        self._needle, self._ours = _learnt.get(model, (b"", b""))
        self._alike = Alike()

    def feed(self, data: bytes) -> bytes:
        """Returns the events completed so far, or b"". Raises OversizedEvent."""
        if self._over:
            return b""
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
        """Returns the last event if only its blank line is missing, and `[DONE]` if a finished response lacks it.

        An incomplete event is dropped.
        """
        data, self._held = self._held.strip(b"\r\n"), b""
        if self._over:
            return b""
        whole = data and (payload(data) is not None or _DONE.search(data) or is_comment(data))
        rest = self._rewrite(data + b"\n\n") if whole else b""
        if self.finished and not (self.done or self.failed or self._refusal):
            self.done = True
            rest += DONE
        return rest

    def begins(self, new: bytes) -> bool | Outcome:
        """Whether the response has begun. An Outcome if it is an error instead.

        Keepalive comments and chunks without content do not count as the beginning.
        """
        return self._refusal or self._begun

    @property
    def cut_off(self) -> bool:
        """Whether the response is incomplete so far."""
        return not (self.done or self.finished or self.failed)

    def _rewrite(self, data: bytes) -> bytes:
        """Rewrites complete events for the client."""
        passed: list[bytes] = []
        at = self._alike.take(data, 0, passed)
        unix = at < len(data) and b"\r" not in data
        while at < len(data) and not self._over:
            end = next_end(data, at, unix=unix)
            passed.append(self._event(data[at:end]))
            at = end if self._over else self._alike.take(data, end, passed)
        return b"".join(passed)

    def _event(self, event: bytes) -> bytes:
        if event == DONE:
            return self._ended(event)
        opening = self._alike.opening
        at = -1
        if opening and self._begun:
            at = 0 if event.startswith(opening) else -1 if event.startswith(b"data:") else event.find(opening)
        if at >= 0:
            # The opening has been inspected before.
            rest = event[at + len(opening) :]
            if self._says_nothing_else(rest if at == 0 else event[:at] + b" " + rest):
                if at == 0:
                    self._alike.learn(rest)
                return event[:at] + self._alike.ours + rest
        rewritten = self._look_into(event)
        self._alike.remember_opening(event, self._needle, self._ours)
        return rewritten

    def _says_nothing_else(self, rest: bytes) -> bool:
        """Whether an event, without its opening, is only a piece of the response."""
        if b'"model"' in rest or b'"error"' in rest or b"data:" in rest or b'content":[' in rest:
            return False
        if rest.count(b'"finish_reason"') != rest.count(b'"finish_reason":null'):
            return False
        if b'"reasoning' in rest and _has_thoughts(rest):
            return False
        if b"_call" in rest and not self._only_arguments(rest) and _has_calls(rest):
            return False
        return rest.count(b'"usage"') == rest.count(b'"usage":null')

    def _only_arguments(self, rest: bytes) -> bool:
        """Whether the only tool call data is arguments for the latest call, in OpenAI's form."""
        calls = self._mender.only
        index = calls.continuing if calls else None
        if calls is None or index is None or b'"name"' in rest or b'"id"' in rest or b'"function_call"' in rest:
            return False
        mentions = rest.count(b'"tool_calls"')
        if mentions != rest.count(b'"tool_calls":[{"index":%d,"function":{"arguments":"' % index):
            return False
        if mentions:
            calls.continued()
        return True

    def _look_into(self, event: bytes) -> bytes:
        if not self._begun or self._is_odd(event):
            event = self._mend(event)
        if b'"usage"' in event and event.count(b'"usage"') != event.count(b'"usage":null'):
            event = self._take_usage(event)
        names = event.count(b'"model"')
        if names:
            if event.count(self._needle) != names or not self._needle:
                event = self._learn(event)
            elif self._needle != self._ours:
                event = event.replace(self._needle, self._ours)
        if not self.finished and b'"finish_reason"' in event:
            self.finished = _FINISH.search(event) is not None
        if b"[DONE]" in event and _DONE.search(event):
            return self._ended(event)
        return event

    def _ended(self, event: bytes) -> bytes:
        """Ends the stream, with a final finish_reason if the provider sent none."""
        self.done = self._over = True
        if self.finished or not self._begun:
            return event
        self.finished = True
        return self._last_chunk() + event

    def _last_chunk(self) -> bytes:
        """A final chunk for a response without a finish_reason, as LiteLLM creates it."""
        text = self._first.get("object") == "text_completion"
        left = self._mender.finish()
        delta = {"tool_calls": left} if left else {}
        said = {"text": ""} if text else {"delta": delta}
        choice = {"index": 0, **said, "finish_reason": "tool_calls" if self._mender.calling else "stop"}
        return b"data: " + orjson.dumps({**self._first, "model": self._model, "choices": [choice]}) + b"\n\n"

    def _is_odd(self, event: bytes) -> bool:
        """Whether the bytes suggest that the event has to be parsed."""
        if b"error" in event or b'"base_resp"' in event:
            return True
        if b'"choices"' not in event and event.count(b"data:") > event.count(b"data: [DONE]"):
            return True
        if (b"_call" in event and _has_calls(event)) or (b'"reasoning' in event and _has_thoughts(event)):
            return True
        if b'content":[' in event or b'content": [' in event:
            return True
        calling = self._mender.calling
        return any(m[1] not in _ORDINARY_FINISH or (calling and m[1] == b"stop") for m in _REASON.finditer(event))

    def _mend(self, event: bytes) -> bytes:
        """Corrects the event. A failure becomes the refusal, or an error event for the client."""
        self._alike.forget()
        chunk = payload(event)
        failed = self._failure(event, chunk)
        if failed is not None:
            self._over = True
            if not self._begun:
                self._refusal = failed
                return b""
            self.failed = failed
            return error_event(failed)
        if chunk is None and _is_noise(event):
            return b""
        if not self._begun and _says_something(chunk):
            self._begun = True
            self._first = {name: chunk[name] for name in _OF_A_CHUNK if name in chunk} if chunk else {}
        return _replaced(event, chunk) if chunk is not None and self._mender.mend(chunk) else event

    def _failure(self, event: bytes, chunk: dict[str, Any] | None) -> Outcome | None:
        if chunk is not None:
            return failure_in(chunk) or (None if _is_chunk(chunk) else from_error_event(chunk))
        data = data_of(event)
        if not data or data == b"[DONE]":
            return None
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            if _NAMED_ERROR.search(event):
                return from_error_event(data.decode("utf-8", "replace"))
            if self.finished:
                return None
            return _NO_JSON if data[:1] in b'{["' else from_error_event(data.decode("utf-8", "replace"))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return failure_in(value[0])
        return from_error_event(value) if _NAMED_ERROR.search(event) else None

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

    def _take_usage(self, event: bytes) -> bytes:
        """Records the usage. If the client did not request it, an event with nothing else is dropped."""
        chunk = payload(event)
        usage = _usage_in(chunk) if chunk else None
        if usage is None or chunk is None:
            return event
        self.usage = with_details(usage)
        choices = chunk.get("choices")
        nulled = choices is None and "choices" in chunk
        if self._drop_usage and (nulled or _says_nothing(choices)):
            return b""
        if not nulled and self.usage is chunk.get("usage"):
            return event
        more = {"choices": []} if nulled else {}
        return _replaced(event, {**chunk, **more, "usage": self.usage})


def _says_nothing(choices: Any) -> bool:
    """No choices, or the form that the engine sends: `[{"index": 0, "delta": {}}]`."""
    return isinstance(choices, list) and all(
        isinstance(c, dict) and not c.get("delta") and not c.get("finish_reason") and not c.get("text") for c in choices
    )


# Metadata in every chunk of a response.
_OF_A_CHUNK = ("id", "object", "created", "model", "system_fingerprint")
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_REASON = re.compile(rb'"finish_reason"\s*:\s*"([^"]*)"')
_DONE = re.compile(rb"(?:^|[\r\n])data:[ \t]*\[DONE\]")
_NAMED_ERROR = re.compile(rb"(?:^|[\r\n])event: ?error\b")
_ORDINARY_FINISH = frozenset(reason.encode() for reason in ORDINARY_FINISH)
_NO_JSON = Outcome("server", 0, "The provider sent an event that is not JSON.")
_CHUNK = "chat.completion.chunk"


def _has_calls(data: bytes) -> bool:
    return any(
        data.count(name) > data.count(name + b":null") + data.count(name + b":[]")
        for name in (b'"tool_calls"', b'"function_call"')
    )


def _has_thoughts(data: bytes) -> bool:
    """Whether the data contains reasoning in a field other than `reasoning_content`."""
    return data.count(b'"reasoning"') > data.count(b'"reasoning":null') or b'"reasoning_details":[{' in data


def _is_noise(event: bytes) -> bool:
    """Whether the data is neither an object nor the end. Clients would fail to parse it."""
    data = data_of(event)
    return data is not None and data != b"[DONE]"


def _usage_in(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Finds the usage: next to the choices, in the first choice (Moonshot), or in `x_groq` (Groq)."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (chunk, first, chunk.get("x_groq")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return usage
    return None


def _is_chunk(chunk: dict[str, Any]) -> bool:
    """Whether an event is a chunk and not an error, even without choices."""
    return "choices" in chunk or "usage" in chunk or chunk.get("object") == _CHUNK or not words(chunk)


def _says_something(chunk: dict[str, Any] | None) -> bool:
    """Whether a chunk has content."""
    if chunk is None:
        return False
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return False
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason") or choice.get("text") or choice.get("message"):
            return True
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
            return True
    return False


def _replaced(event: bytes, chunk: dict[str, Any]) -> bytes:
    """The event with its data replaced."""
    kept = b"".join(line + b"\n" for line in event.splitlines() if line and not line.startswith(b"data:"))
    return kept + b"data: " + orjson.dumps(chunk) + b"\n\n"


# What separates the opening of an event from the string that changes.
_ARGUMENTS = b'"tool_calls":[{"index":'
_STRINGS = (b'"content":"', b'"reasoning_content":"', _ARGUMENTS)
_MOST_SHAPES = 4
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_BACKSLASH = 0x5C
# OpenAI pads events with letters and digits to hide the length of a piece.
_PADDING = b',"obfuscation":"'

_DELTA = b'"delta":{'
_NEAR = 200  # the number of bytes after the model name in which an ordinary event has no content of its own yet
_OF_INTEREST = (b"\n", b"\r", b'"usage"', b'"error"', b'"finish_reason"', b"[DONE]")


class Alike:
    """The events of one stream that have been inspected.

    `opening` is their common prefix, empty until it is known. `ours` is the same prefix with the model name for the
    client.
    """

    __slots__ = ("_shapes", "opening", "ours")

    def __init__(self) -> None:
        self.opening = self.ours = b""
        # Each shape: the bytes before the string, the bytes after it, and the bytes that end the event after the
        # padding.
        self._shapes: list[tuple[bytes, int, bytes, int, bytes]] = []

    def take(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Appends the events of known shape, starting at `at`, to `passed`.

        Returns the position of the first other event.
        """
        skipped, ours, size, shapes = len(self.opening), self.ours, len(data), self._shapes
        while at < size:
            for head, before, tail, behind, closing in shapes:
                start = at + before
                if data[at:start] != head:
                    continue
                quote = data.find(b'"', start)
                if data[quote - 1] == _BACKSLASH:
                    quote = _string_end(data, start)
                end = quote + behind
                if data[quote:end] != tail:
                    continue
                if closing:
                    end = data.find(b'"', end)
                    if not data.startswith(closing, end):
                        continue
                    end += len(closing)
                passed.append(ours)
                passed.append(data[at + skipped : end])
                at = end
                break
            else:
                break
        return at

    def learn(self, rest: bytes) -> None:
        """Learns the shape of an event that may pass. `rest` is the event after its opening."""
        for prefix in _STRINGS:
            if len(self._shapes) < _MOST_SHAPES and rest.startswith(prefix):
                start = rest.find(b':"', len(prefix)) + 2 if prefix == _ARGUMENTS else len(prefix)
                end = _string_end(rest, start)
                if end > 0 and start >= len(prefix):
                    head, (tail, closing) = self.opening + rest[:start], _behind(rest[end:])
                    self._shapes.append((head, len(head), tail, len(tail), closing))

    def forget(self) -> None:
        """Forgets all shapes.

        Arguments may only pass if they belong to the latest call, and a new call may have begun.
        """
        self._shapes.clear()

    def remember_opening(self, event: bytes, theirs: bytes, ours: bytes) -> None:
        """Learns the opening from an event that contains the model name, unless it contains something of interest.

        `theirs` is the name as it appears in the event, and `ours` the name for the client.
        """
        at = event.find(theirs) if theirs else -1
        start = event.rfind(b"data:", 0, at) if at > 0 else -1
        if start < 0 or (start > 0 and event[start - 1] not in b"\r\n"):
            return
        end = at + len(theirs)
        delta = event.find(_DELTA, end, end + _NEAR)
        opening = event[start : end if delta < 0 else delta + len(_DELTA)]
        if opening == self.opening or opening.count(b'"model"') != 1 or any(what in opening for what in _OF_INTEREST):
            return
        self._shapes.clear()
        self.opening, self.ours = opening, opening.replace(theirs, ours)


def _behind(tail: bytes) -> tuple[bytes, bytes]:
    padding = tail.find(_PADDING)
    if padding < 0:
        return tail, b""
    start = padding + len(_PADDING)
    return tail[:start], tail[tail.find(b'"', start) :]


def _string_end(data: bytes, start: int) -> int:
    """The position of the closing quote of the string that starts at `start`, or -1."""
    at = data.find(b'"', start)
    if at > start and data[at - 1] == _BACKSLASH:
        found = _STRING.match(data, start)
        return found.end() - 1 if found else -1
    return at
