"""Translates chat completions to Anthropic messages, complete or streaming.

In a stream, only one content block is open at a time, and later blocks wait until it is complete. OpenAI's format can
interleave text, reasoning and calls, whereas Anthropic's clients read one block after another.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.core.pricing.usage import cached_elsewhere, count

from ....routing.outcome import Outcome
from ...shared.answer import Events
from ...shared.mend import arguments_text, new_id
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
        content.append({"type": "tool_use", "id": new_id(), "name": function.get("name"), "input": given})
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
            parts.append(blocks.call(_OLD_STYLE, new_id(), function.get("name"), pieces))
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
