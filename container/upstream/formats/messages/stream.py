"""The chunks of a chat completion as Anthropic's events: blocks that open and close one after the other."""

from collections.abc import Mapping
from typing import Any

import orjson

from ....routing.outcome import Outcome
from ...answer import UNEXPECTED, UNREADABLE, Events
from ...sse import Reader
from . import answer


class MessageEvents:
    """`inner`: reads the provider's stream, whatever its format, and gives chunks of a chat completion."""

    def __init__(self, inner: Events, name: str) -> None:
        self._inner = inner
        self._name = name
        self._reader = Reader()
        self._begun: bool | Outcome = False
        self._failed: Outcome | None = None
        self._started = self._ended = False
        self._open = ""  # "text", "thinking", or "call" and the index of the call
        self._index = -1
        self._stop: str | None = None

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._inner.usage

    @property
    def failed(self) -> Outcome | None:
        return self._failed or self._inner.failed

    @property
    def cut_off(self) -> bool:
        return not self._failed and self._inner.cut_off

    def begins(self, new: bytes) -> bool | Outcome:
        return self._begun

    def feed(self, data: bytes) -> bytes:
        return self._told(self._inner.feed(data))

    def end(self) -> bytes:
        told = self._told(self._inner.end())
        if self._ended or self.failed or self._begun is not True or self._inner.cut_off:
            return told
        self._ended = True
        # Only now is the usage known: providers say it after the reason to stop.
        counted = answer.usage(self._inner.usage)
        stop = {"stop_reason": self._stop or "end_turn", "stop_sequence": None}
        return (
            told + self._close() + event("message_delta", {"delta": stop, "usage": counted}) + event("message_stop", {})
        )

    def _told(self, chunks: bytes) -> bytes:
        if not chunks or self._failed:
            return b""
        if self._begun is not True:
            self._begun = self._inner.begins(chunks)
        told = b""
        for chunk in self._reader.feed(chunks):
            started = self._started
            try:
                told += self._chunk(chunk)
            except UNEXPECTED:
                if not started:  # another deployment can take over
                    self._begun = UNREADABLE
                    return b""
                self._failed = UNREADABLE
                return told + _error(UNREADABLE.message)
        return told

    def _chunk(self, chunk: Mapping[str, Any]) -> bytes:
        if chunk.get("error") and not chunk.get("choices"):
            said = chunk["error"]
            return _error(said.get("message") if isinstance(said, dict) else said)
        choices = chunk.get("choices")
        if not choices or choices[0].get("index"):
            return b""
        parts = [] if self._started else [self._start(chunk)]
        delta = choices[0].get("delta") or {}
        if delta.get("reasoning_content"):
            said = {"type": "thinking_delta", "thinking": delta["reasoning_content"]}
            parts += self._say("thinking", {"type": "thinking", "thinking": "", "signature": ""}, said)
        text = delta.get("content") or delta.get("refusal")
        if text:
            parts += self._say("text", {"type": "text", "text": ""}, {"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or ():
            parts += self._call(call)
        reason = choices[0].get("finish_reason")
        if reason:
            self._stop = answer.STOP.get(reason, "end_turn")
        if delta.get("refusal"):
            self._stop = "refusal"
        return b"".join(parts)

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        self._started = True
        message = {
            "id": answer.identity(chunk.get("id")),
            "type": "message",
            "role": "assistant",
            "model": self._name,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": answer.usage(None),
        }
        return event("message_start", {"message": message})

    def _call(self, call: Mapping[str, Any]) -> list[bytes]:
        function = call.get("function") or {}
        key = f"call {call.get('index', 0)}"
        if key != self._open and not function.get("name"):
            return []  # more of a call that is closed: no provider sends calls mixed
        block = {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": {}}
        said = {"type": "input_json_delta", "partial_json": function.get("arguments") or ""}
        return self._say(key, block, said)

    def _say(self, key: str, block: Mapping[str, Any], delta: Mapping[str, Any]) -> list[bytes]:
        parts = []
        if key != self._open:
            parts.append(self._close())
            self._open = key
            self._index += 1
            parts.append(event("content_block_start", {"index": self._index, "content_block": block}))
        parts.append(event("content_block_delta", {"index": self._index, "delta": delta}))
        return parts

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return event("content_block_stop", {"index": self._index})


def _error(message: Any) -> bytes:
    return event("error", {"error": {"type": "api_error", "message": str(message)}})


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
