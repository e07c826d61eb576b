"""A provider's event stream on its way to the client: the bytes as they came, but for a few things.

- `"model":"…"` becomes the name the client asked for;
- the usage chunk is dropped when it was we who asked for it;
- usage, errors and the end are noticed; an error is told in OpenAI's shape, and nothing follows it;
- what a server writes otherwise than OpenAI is made right (container/upstream/odd_chunks.py).

An event that has not ended is held back until it has: no client can act on half an event, and a comment line may then
be sent at any time without landing inside one. An event is parsed only when its bytes show that there is something in
it; those of an ordinary answer, tool calls among them, pass unparsed.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from worker.ledger.usage import with_details

from ..routing.outcome import Outcome
from .error_body import words
from .failure import error_event, from_error_event
from .odd_chunks import ORDINARY_FINISH, ChunkMender, failure_in
from .sse import EVENT_END, MAX_EVENT_BYTES, OversizedEvent, data_of, is_comment, last_end, payload, split

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
        self._begun = False
        self._refusal: Outcome | None = None  # an error instead of an answer
        self._over = False  # it has failed, or is at its end
        self._first: dict[str, Any] = {}  # what the chunk with which the answer began says of itself
        self._mender = ChunkMender()
        # Streams of one model name it alike, so what one has learnt serves the next.
        self._needle, self._ours = _learnt.get(model, (b"", b""))
        self._opening = b""
        self._our_opening = b""
        self._shapes: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> bytes:
        """The complete events so far; empty while none is. Raises OversizedEvent."""
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
        """What is left when the provider has closed: an event whose blank line never came. Half an event is dropped."""
        data, self._held = self._held.strip(b"\r\n"), b""
        if self._over:
            return b""
        whole = payload(data) is not None or _DONE.search(data) or (data and is_comment(data))
        rest = self._rewrite(data + b"\n\n") if whole else b""
        if self.finished and not (self.done or self.failed or self._refusal):
            self.done = True
            rest += DONE
        return rest

    def begins(self, new: bytes) -> bool | Outcome:
        """Whether the answer has begun with what was returned so far; an Outcome when it is an error instead.

        Comments, as providers send them to keep a connection open, and chunks that say nothing yet are not the
        beginning."""
        return self._refusal or self._begun

    @property
    def cut_off(self) -> bool:
        """Whether what came so far is no whole answer."""
        return not (self.done or self.finished or self.failed)

    def _rewrite(self, data: bytes) -> bytes:
        if not self._begun:
            return self._begin(data)
        opening = self._opening
        if opening:
            # The events of a stream mostly open alike, down to the model's name: what has been looked at once is not
            # searched again, and the rest says whether there is anything to look at.
            parts = data.split(opening)
            if len(parts) > 1 and ((len(parts) == 2 and self._is_like_others(parts)) or self._is_ordinary(parts)):
                return self._our_opening.join(parts)
        rewritten = self._look_into(data)
        self._remember_opening(data)
        return rewritten

    def _begin(self, data: bytes) -> bytes:
        """Each event is read until the answer has begun. What follows in the same bytes may pass unread."""
        passed: list[bytes] = []
        start = 0
        while start < len(data) and not self._begun and not self._over:
            end = EVENT_END.search(data, start)
            cut = end.end() if end else len(data)
            event = data[start:cut]
            passed.append(self._look_into(event))
            self._remember_opening(event)
            start = cut
        if start < len(data) and not self._over:
            passed.append(self._rewrite(data[start:]))
        return b"".join(passed)

    def _is_like_others(self, parts: list[bytes]) -> bool:
        """Whether one event without its opening differs only by one string from such as were ordinary. Several are
        looked at together, which costs less than one look at each."""
        return not parts[0] and self._is_alike(parts[1])

    def _is_alike(self, rest: bytes) -> bool:
        for prefix, tail in self._shapes:
            if rest.startswith(prefix):
                at = _string_end(rest, len(prefix))
                if at > 0 and rest.startswith(tail, at) and _is_padding(rest, at + len(tail)):
                    return True
        return False

    def _learn_shape(self, rest: bytes) -> None:
        """Of an event that is ordinary: what stands before and behind its only string that varies."""
        for prefix in _STRINGS:
            if len(self._shapes) < _MOST_SHAPES and rest.startswith(prefix):
                start = rest.find(b':"', len(prefix)) + 2 if prefix == _ARGUMENTS else len(prefix)
                at = _string_end(rest, start)
                if at > 0:
                    behind = rest.find(_PADDING, at)
                    tail = rest[at:] if behind < 0 else rest[at : behind + len(_PADDING)]
                    self._shapes.append((rest[:start], tail))

    def _is_ordinary(self, parts: list[bytes]) -> bool:
        """Whether events without their openings are nothing but pieces of an answer."""
        rest = b" ".join(parts)
        if not self._says_nothing_else(rest):
            return False
        self._begun = True
        if len(parts) == 2 and not parts[0]:
            self._learn_shape(parts[1])
        return True

    def _says_nothing_else(self, rest: bytes) -> bool:
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
        """Whether there is nothing of calls but arguments of the one that came last, as OpenAI writes them."""
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
        if not self._begun or self._is_odd(data):
            data = self._mend(data)
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
        if b"[DONE]" in data:
            data = self._ended(data)
        return data

    def _ended(self, data: bytes) -> bytes:
        """The end of a stream: nothing follows it, and before it an answer has said why it ended."""
        done = _DONE.search(data)
        if done is None:
            return data
        self.done = self._over = True
        blank = EVENT_END.search(data, done.end())
        data = data[: blank.end()] if blank else data
        if self.finished or not self._begun:
            return data
        self.finished = True
        begin = last_end(data[: done.start() + 1])
        return data[:begin] + self._last_chunk() + data[begin:]

    def _last_chunk(self) -> bytes:
        """For an answer that does not say why it ended, as LiteLLM makes one."""
        text = self._first.get("object") == "text_completion"
        left = self._mender.finish()
        delta = {"tool_calls": left} if left else {}
        said = {"text": ""} if text else {"delta": delta}
        choice = {"index": 0, **said, "finish_reason": "tool_calls" if self._mender.calling else "stop"}
        return b"data: " + orjson.dumps({**self._first, "model": self._model, "choices": [choice]}) + b"\n\n"

    def _is_odd(self, data: bytes) -> bool:
        """Whether the bytes show something that has to be looked at, event by event."""
        chunks = data.count(b"data:") - data.count(b"data: [DONE]")
        if b"error" in data or b'"base_resp"' in data or data.count(b'"choices"') < chunks:
            return True
        if _has_calls(data) or _has_thoughts(data) or b'content":[' in data or b'content": [' in data:
            return True
        calling = self._mender.calling
        return any(m[1] not in _ORDINARY_FINISH or (calling and m[1] == b"stop") for m in _REASON.finditer(data))

    def _mend(self, data: bytes) -> bytes:
        """The events, each made right; up to the one that tells of a failure."""
        passed: list[bytes] = []
        self._shapes.clear()  # arguments that pass unread have to be those of the last call
        for event in split(data):
            chunk = payload(event)
            failed = self._failure(event, chunk)
            if failed is not None:
                self._over = True
                if not self._begun:
                    self._refusal = failed
                    return b"".join(passed)
                self.failed = failed
                return b"".join((*passed, error_event(failed)))
            if chunk is None and _is_noise(event):
                continue
            if not self._begun and _says_something(chunk):
                self._begun = True
                self._first = {name: chunk[name] for name in _OF_A_CHUNK if name in chunk} if chunk else {}
            if chunk is not None and self._mender.mend(chunk):
                event = _replaced(event, chunk)
            passed.append(event)
        return b"".join(passed)

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

    def _take_usage(self, data: bytes) -> bytes:
        """Reads the usage out of the events that carry one; those that carry nothing else go when nobody asked."""
        kept, start = [], 0
        for begin, end in _events_with_usage(data):
            chunk = payload(data[begin:end])
            usage = _usage_in(chunk) if chunk else None
            if usage is None or chunk is None:
                continue
            self.usage = with_details(usage)
            choices = chunk.get("choices")
            nulled = choices is None and "choices" in chunk
            dropped = self._drop_usage and (nulled or _says_nothing(choices))
            if dropped or nulled or self.usage is not chunk.get("usage"):
                kept.append(data[start:begin])
                if not dropped:
                    more = {"choices": []} if nulled else {}
                    kept.append(_replaced(data[begin:end], {**chunk, **more, "usage": self.usage}))
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


DONE = b"data: [DONE]\n\n"
# What every chunk of an answer says of it.
_OF_A_CHUNK = ("id", "object", "created", "model", "system_fingerprint")
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_REASON = re.compile(rb'"finish_reason"\s*:\s*"([^"]*)"')
_DONE = re.compile(rb"(?:^|[\r\n])data:[ \t]*\[DONE\]")
_NAMED_ERROR = re.compile(rb"(?:^|[\r\n])event: ?error\b")
_ORDINARY_FINISH = frozenset(reason.encode() for reason in ORDINARY_FINISH)
_NO_JSON = Outcome("server", 0, "The provider sent an event that is not JSON.")
_CHUNK = "chat.completion.chunk"


# What an event says between its opening and the one string that varies.
_ARGUMENTS = b'"tool_calls":[{"index":'
_STRINGS = (b'"content":"', b'"reasoning_content":"', _ARGUMENTS)
_MOST_SHAPES = 4
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
# What OpenAI adds to hide how long a piece is: letters and digits.
_PADDING = b',"obfuscation":"'


def _string_end(data: bytes, start: int) -> int:
    """Where the string that begins at `start` ends: at its closing quote; -1 where it has none."""
    at = data.find(b'"', start)
    if at > start and data[at - 1] == 0x5C:
        found = _STRING.match(data, start)
        return found.end() - 1 if found else -1
    return at


def _is_padding(data: bytes, start: int) -> bool:
    """Whether nothing comes after `start` but padding."""
    return len(data) == start or (data[start - 1] == 0x22 and data.find(b'"', start) == len(data) - 4)


def _has_calls(data: bytes) -> bool:
    return any(
        data.count(name) > data.count(name + b":null") + data.count(name + b":[]")
        for name in (b'"tool_calls"', b'"function_call"')
    )


def _has_thoughts(data: bytes) -> bool:
    """Under another name than `reasoning_content`."""
    return data.count(b'"reasoning"') > data.count(b'"reasoning":null') or b'"reasoning_details":[{' in data


def _is_noise(event: bytes) -> bool:
    """Whether an event has data, and that is neither an object nor the end: clients would fail at it."""
    data = data_of(event)
    return data is not None and data != b"[DONE]"


def _usage_in(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Where servers put it: beside the choices, in the first of them (Moonshot), in a field of their own (Groq)."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (chunk, first, chunk.get("x_groq")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return usage
    return None


def _is_chunk(chunk: dict[str, Any]) -> bool:
    """Whether an event without choices is no error either."""
    return "choices" in chunk or "usage" in chunk or chunk.get("object") == _CHUNK or not words(chunk)


def _says_something(chunk: dict[str, Any] | None) -> bool:
    """Whether a chunk is more than a greeting."""
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
    """The event with other data."""
    kept = b"".join(line + b"\n" for line in event.splitlines() if line and not line.startswith(b"data:"))
    return kept + b"data: " + orjson.dumps(chunk) + b"\n\n"
