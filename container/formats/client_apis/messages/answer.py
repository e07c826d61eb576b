"""Translates chat completions to Anthropic messages, complete or streaming.

In a stream, only one content block is open at a time, and later blocks wait until it is complete. OpenAI's format can
interleave text, reasoning and calls, whereas Anthropic's clients read one block after another.

The responses of Claude itself are passed through, with only the model's name replaced.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from worker.core.pricing.usage import cached_elsewhere, count

from ....routing.health import Outcome
from ...anthropic.answer import error, read_so_far, unnamed_error, usage
from ...anthropic.answer import message as claudes_message
from ...shared import failure
from ...shared.events import SAY_NOTHING, EventCutter, data_of, payload, split
from ...shared.mend import arguments_text, new_call_id
from ...shared.wire import Events, Plain, json_object
from ..over_chat import EventsOfChat

STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def identity(of_chat: Any) -> str:
    return f"msg_{str(of_chat or '').removeprefix('chatcmpl-')}"


def message(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Translates a chat completion. Only the first of several choices is used."""
    choices = body.get("choices") or [{}]
    said = choices[0].get("message") or {}
    content: list[dict[str, Any]] = []
    if said.get("reasoning_content"):
        content.append({"type": "thinking", "thinking": said["reasoning_content"], "signature": ""})
    text = said.get("content") or said.get("refusal")
    if text:
        content.append({"type": "text", "text": text})
    for call in said.get("tool_calls") or ():
        function = call.get("function") or {}
        given = arguments(function.get("arguments"))
        content.append({"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given})
    function = said.get("function_call")
    if function:
        given = arguments(function.get("arguments"))
        content.append({"type": "tool_use", "id": new_call_id(), "name": function.get("name"), "input": given})
    return {
        "id": identity(body.get("id")),
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": content,
        "stop_reason": "refusal" if said.get("refusal") else STOP.get(str(choices[0].get("finish_reason")), "end_turn"),
        "stop_sequence": None,
        "usage": message_usage(body.get("usage")),
    }


def arguments(given: Any) -> Any:
    """Parses call arguments. Models sometimes write invalid JSON."""
    try:
        return orjson.loads(given) if given else {}
    except (orjson.JSONDecodeError, TypeError):
        return {}


def message_usage(said: Any) -> dict[str, int]:
    """Translates the usage. Anthropic counts tokens read from or written to a cache separately."""
    counts = said if isinstance(said, dict) else {}
    details = counts.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    read = count(details, "cached_tokens") or cached_elsewhere(counts)
    written = count(details, "cache_creation_tokens") or count(counts, "cache_creation_input_tokens")
    return {
        "input_tokens": max(0, count(counts, "prompt_tokens") - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": count(counts, "completion_tokens"),
    }


class _Block:
    """A content block.

    `kind` is text, thinking or tool_use. `key` identifies a call. `head` is the start of the block, and `waiting`
    contains pieces that have not been sent.
    """

    __slots__ = ("all", "head", "key", "kind", "started", "waiting")

    def __init__(self, kind: str, key: int, head: dict[str, Any]) -> None:
        self.kind = kind
        self.key = key
        self.head = head
        self.started = False
        self.waiting: list[str] = []
        self.all: list[str] = []  # pieces of a call

    def whole(self) -> bool:
        """Whether the block can be closed once another has begun."""
        if self.kind != "tool_use":
            return True
        text = "".join(self.all)
        if not text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(orjson.loads(text), dict)
        except orjson.JSONDecodeError:
            return False

    def says_something(self) -> bool:
        """Whether there is content to send.

        Anthropic refuses blank text, and servers send line breaks between calls.
        """
        return self.kind == "thinking" or any(not part.isspace() for part in self.waiting if part)


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class Blocks:
    """Orders the pieces of a response into blocks. Each method returns the events that can be sent."""

    def __init__(self) -> None:
        self._queue: list[_Block] = []  # only the first may be open
        self._index = -1
        self.called = False

    def text(self, text: str) -> bytes:
        return self._say("text", {"type": "text", "text": ""}, text)

    def thought(self, text: str) -> bytes:
        return self._say("thinking", {"type": "thinking", "thinking": "", "signature": ""}, text)

    def call(self, key: int, id: Any, name: Any, arguments: str) -> bytes:
        """Adds a piece of a call. `key` is the call's index. `id` and `name` are set if this piece contains them."""
        self.called = True
        block = next((b for b in self._queue if b.kind == "tool_use" and b.key == key), None)
        if block is None:
            if not name and not id:
                return b""  # another piece of a completed call
            block = _Block("tool_use", key, {"type": "tool_use", "id": id, "name": "", "input": {}})
            self._queue.append(block)
        if name and not block.started:
            block.head["name"] += name
        if arguments:
            block.waiting.append(arguments)
            block.all.append(arguments)
        return self._pump()

    def end(self) -> bytes:
        return self._pump(at_end=True)

    def _say(self, kind: str, head: dict[str, Any], text: str) -> bytes:
        queue = self._queue
        if not queue or queue[-1].kind != kind:
            queue.append(_Block(kind, -1, head))
        queue[-1].waiting.append(text)
        return self._pump()

    def _pump(self, *, at_end: bool = False) -> bytes:
        parts: list[bytes] = []
        queue = self._queue
        while queue:
            block = queue[0]
            last = at_end or (len(queue) > 1 and block.whole())
            if not block.started and (block.says_something() or (last and self._stands_alone(block))):
                block.started = True
                self._index += 1
                parts.append(event("content_block_start", {"index": self._index, "content_block": block.head}))
            if block.started:
                kind, field = _DELTAS[block.kind]
                for text in block.waiting:
                    delta = {"type": kind, field: text}
                    parts.append(event("content_block_delta", {"index": self._index, "delta": delta}))
                block.waiting.clear()
            if not last:
                break
            if block.started:
                parts.append(event("content_block_stop", {"index": self._index}))
            queue.pop(0)
        return b"".join(parts)

    def _stands_alone(self, block: _Block) -> bool:
        """Whether the block is sent although it is blank: a call without arguments, or the only block."""
        return block.kind == "tool_use" or (self._index < 0 and len(self._queue) == 1)


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


_OLD_STYLE = -1  # the key of the single legacy `function_call`


class MessageEvents(EventsOfChat):
    """Translates a stream. `inner` turns the provider's stream into chat completion chunks."""

    def __init__(self, inner: Events, name: str) -> None:
        super().__init__(inner)
        self._name = name
        self._blocks = Blocks()
        self._stop: str | None = None

    def _last(self, said: Mapping[str, Any] | None) -> bytes:
        reason = self._stop or ("tool_use" if self._blocks.called else "end_turn")
        stop = {"stop_reason": reason, "stop_sequence": None}
        ended = event("message_delta", {"delta": stop, "usage": message_usage(said)}) + event("message_stop", {})
        return self._blocks.end() + ended

    def _failure(self, outcome: Outcome) -> bytes:
        return _error(outcome.message)

    def _chunk(self, chunk: Mapping[str, Any]) -> bytes:
        if chunk.get("error") and not chunk.get("choices"):
            said = chunk["error"]
            return _error(said.get("message") if isinstance(said, dict) else said)
        choices = chunk.get("choices")
        if not choices or choices[0].get("index"):
            return b""
        parts = [] if self._started else [self._start(chunk)]
        delta = choices[0].get("delta") or {}
        blocks = self._blocks
        if delta.get("reasoning_content"):
            parts.append(blocks.thought(delta["reasoning_content"]))
        text = delta.get("content") or delta.get("refusal")
        if text:
            parts.append(blocks.text(text))
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            pieces = arguments_text(function.get("arguments"))
            parts.append(blocks.call(call.get("index") or 0, call.get("id"), function.get("name"), pieces))
        function = delta.get("function_call")
        if function:
            pieces = arguments_text(function.get("arguments"))
            parts.append(blocks.call(_OLD_STYLE, new_call_id(), function.get("name"), pieces))
        reason = choices[0].get("finish_reason")
        if reason:
            self._stop = STOP.get(reason, "end_turn")
        if delta.get("refusal"):
            self._stop = "refusal"
        return b"".join(parts)

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        self._started = True
        message = {
            "id": identity(chunk.get("id")),
            "type": "message",
            "role": "assistant",
            "model": self._name,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": message_usage(None),
        }
        return event("message_start", {"message": message})


def _error(message: Any) -> bytes:
    return event("error", {"error": {"type": "api_error", "message": str(message)}})


# Claude's own responses, in which only the model's name is replaced.

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
# Only events with these markers are inspected.
_LOOKED_INTO = (b"message_start", b"message_delta", b"message_stop", b'"error"', b"event: error")


def passed_message(raw: bytes, name: str) -> Plain | Outcome:
    body = claudes_message(raw)
    if isinstance(body, Outcome):
        return body
    used = body.get("usage")
    if isinstance(body.get("model"), str) and body["model"] != name:
        raw = orjson.dumps({**body, "model": name})
    return Plain(raw, usage(used) if isinstance(used, dict) else None)


def passed_count(raw: bytes) -> Plain | Outcome:
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
        self._cutter = EventCutter()
        self._said: dict[str, Any] = {}
        self._done = False
        self._begun = False
        self._error: Outcome | None = None

    def feed(self, data: bytes) -> bytes:
        data = self._cutter.complete(data)
        if not self._begun and b"content_block_start" in data:
            self._begun = True
        if self.failed or self._error:
            return b""
        named = data.count(b"event:") >= data.count(b"data:")  # Anthropic names all events
        if named and not any(kind in data for kind in _LOOKED_INTO):
            return data
        return b"".join([self._look(one) for one in split(data)])

    def end(self) -> bytes:
        rest = self._cutter.last()
        return self._look(rest) if rest else b""

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
            self.usage = usage(self._said)
        elif kind == "error":
            said = found.get("error")
            return self._fail(error(found), said.get("type") if isinstance(said, dict) else None)
        else:
            failed = unnamed_error(found)
            if failed is not None:
                return self._fail(failed)
        return one if b"event:" in one or not isinstance(kind, str) else b"event: " + kind.encode() + b"\n" + one

    def _look_at_text(self, one: bytes) -> bytes:
        """Handles an event without a JSON object: a comment, a plain text error, or data that no client can parse."""
        data = data_of(one)
        if data is None:
            return one
        if data in SAY_NOTHING or self._done or (self._begun and b"event: error" not in one):
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
