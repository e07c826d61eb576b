"""The chunks of a chat completion as Anthropic's events."""

from collections.abc import Mapping
from typing import Any

from ....routing.outcome import Outcome
from ...answer import UNEXPECTED, UNREADABLE, Events
from ...sse import Reader
from ...tool_calls import arguments_text, new_id
from . import answer
from .blocks import Blocks, event

_OLD_STYLE = -1  # the key of a `function_call`, of which there is one


class MessageEvents:
    """`inner`: reads the provider's stream, whatever its format, and gives chunks of a chat completion."""

    def __init__(self, inner: Events, name: str) -> None:
        self._inner = inner
        self._name = name
        self._reader = Reader()
        self._begun: bool | Outcome = False
        self._failed: Outcome | None = None
        self._started = self._ended = False
        self._blocks = Blocks()
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
        reason = self._stop or ("tool_use" if self._blocks.called else "end_turn")
        stop = {"stop_reason": reason, "stop_sequence": None}
        ended = event("message_delta", {"delta": stop, "usage": counted}) + event("message_stop", {})
        return told + self._blocks.end() + ended

    def _told(self, chunks: bytes) -> bytes:
        if self._failed:
            return b""
        if self._begun is not True:
            self._begun = self._inner.begins(chunks)
        if not chunks:
            return b""
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


def _error(message: Any) -> bytes:
    return event("error", {"error": {"type": "api_error", "message": str(message)}})
