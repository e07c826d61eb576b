"""The content blocks of a message as it is streamed: one is open at a time, and a later one waits until it is whole.

OpenAI's format lets text, thoughts and calls come mixed; Anthropic's clients read one block after the other.
"""

from collections.abc import Mapping
from typing import Any

import orjson


class _Block:
    """`kind`: text, thinking or tool_use; `key`: which call it is; `head`: what the block starts with; `waiting`: what
    has come and was not sent on."""

    __slots__ = ("all", "head", "key", "kind", "started", "waiting")

    def __init__(self, kind: str, key: int, head: dict[str, Any]) -> None:
        self.kind = kind
        self.key = key
        self.head = head
        self.started = False
        self.waiting: list[str] = []
        self.all: list[str] = []  # of a call

    def whole(self) -> bool:
        """Whether nothing can follow once another block has begun."""
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
        """Anthropic refuses blank texts, and servers write line ends between calls."""
        return self.kind == "thinking" or any(not part.isspace() for part in self.waiting if part)


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class Blocks:
    """Each method returns the events that can be sent."""

    def __init__(self) -> None:
        self._queue: list[_Block] = []  # the first may be open
        self._index = -1
        self.called = False

    def text(self, text: str) -> bytes:
        return self._say("text", {"type": "text", "text": ""}, text)

    def thought(self, text: str) -> bytes:
        return self._say("thinking", {"type": "thinking", "thinking": "", "signature": ""}, text)

    def call(self, key: int, id: Any, name: Any, arguments: str) -> bytes:
        """`key`: the call's index; `id` and `name` where they come with this piece."""
        self.called = True
        block = next((b for b in self._queue if b.kind == "tool_use" and b.key == key), None)
        if block is None:
            if not name and not id:
                return b""  # more of a call that was whole
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
        """Whether a block that says nothing is sent all the same: a call without arguments, or all of the answer."""
        return block.kind == "tool_use" or (self._index < 0 and len(self._queue) == 1)


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
