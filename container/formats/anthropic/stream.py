"""Translates Anthropic's events to chat completion chunks.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from ..shared.answer import UNEXPECTED, UNREADABLE
from ..shared.events import DONE, TranslatedStream
from . import answer
from .request import JSON_TOOL, Translated

_CALLS = ("tool_use", "server_tool_use")


class ChunkStream(TranslatedStream):
    """Translates a stream. `name` is the model's public name. `wants_usage` means that the client requested the usage
    chunk.
    """

    def __init__(self, name: str, asked: Translated, *, wants_usage: bool) -> None:
        super().__init__(name, wants_usage=wants_usage)
        self._asked = asked
        self._said: dict[str, Any] = {}  # the usage in Anthropic's format
        self._calls = -1
        self._block = ""  # the type of the open block
        self._silent_call = False  # the open block is a call without arguments so far
        self._json = False  # the open block is a call that contains the response
        self._json_answered = False
        self._open(None)

    def _translate(self, event: Mapping[str, Any]) -> bytes:
        if self.failed or self._error:
            return b""
        kind = event.get("type")
        try:
            if kind == "content_block_delta":
                return self._delta(event.get("delta") or {})
            handler = _HANDLERS.get(kind or "")
            if handler:
                return handler(self, event)
            failed = answer.unnamed_error(event)
            return b"" if failed is None else self._fail(failed)
        except UNEXPECTED:
            return self._fail(UNREADABLE)

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        kind = delta.get("type")
        if kind == "text_delta":
            self._begun = True
            return self._head + b'{"content":' + orjson.dumps(delta.get("text")) + b"}" + self._after
        if kind == "input_json_delta":
            part = delta.get("partial_json")
            if self._block not in _CALLS or not part:
                return b""
            self._silent_call = False
            if self._json:
                return self._chunk({"content": part})
            return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": part}}]})
        if kind == "thinking_delta":
            self._begun = True
            thought = delta.get("thinking") or ""
            block = {"type": "thinking", "thinking": thought}
            return self._chunk({"reasoning_content": thought, "thinking_blocks": [block]}) if thought else b""
        if kind == "signature_delta":
            block = {"type": "thinking", "thinking": "", "signature": delta.get("signature")}
            return self._chunk({"reasoning_content": "", "thinking_blocks": [block]})
        if kind == "citations_delta":
            return self._chunk({"provider_specific_fields": {"citation": delta.get("citation")}})
        if kind == "compaction_delta":
            return self._chunk({"provider_specific_fields": {"compaction_delta": dict(delta)}})
        return b""

    def _message_start(self, event: Mapping[str, Any]) -> bytes:
        message = event.get("message") or {}
        self._count(message.get("usage"))
        self.usage = read_so_far(self._said)
        self._open(message.get("id"))
        return self._chunk({"role": "assistant", "content": ""})

    def _block_start(self, event: Mapping[str, Any]) -> bytes:
        block = event.get("content_block") or {}
        self._begun = True
        self._block = kind = str(block.get("type"))
        if kind == "text":
            return self._chunk({"content": block["text"]}) if block.get("text") else b""
        if kind in _CALLS:
            name = str(block.get("name"))
            self._json = self._asked.json_tool and name == JSON_TOOL
            if self._json:
                self._json_answered = True
                return b""
            self._calls += 1
            self._silent_call = True
            function = {"name": self._asked.names.get(name, name), "arguments": ""}
            call = {"index": self._calls, "id": block.get("id"), "type": "function", "function": function}
            return self._chunk({"tool_calls": [call]})
        if kind == "redacted_thinking":
            return self._chunk({"thinking_blocks": [dict(block)]})
        more = answer.specific((block,), {})
        return self._chunk({"provider_specific_fields": more}) if more else b""

    def _block_stop(self, event: Mapping[str, Any]) -> bytes:
        silent, self._silent_call, self._block, self._json = self._silent_call, False, "", False
        if not silent:
            return b""
        return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": "{}"}}]})

    def _message_delta(self, event: Mapping[str, Any]) -> bytes:
        self._begun = True
        self._count(event.get("usage"))
        self.usage = answer.usage(self._said)
        delta = event.get("delta") or {}
        reason = delta.get("stop_reason")
        if not reason:
            return b""
        self.finished = True
        finish = "stop" if self._json_answered and self._calls < 0 else answer.finish_reason(reason)
        more = {"provider_specific_fields": {"container": delta["container"]}} if delta.get("container") else {}
        made = self._head + orjson.dumps(more) + b',"finish_reason":' + orjson.dumps(finish) + b"}]}\n\n"
        return made + self._usage_chunk()

    def _message_stop(self, event: Mapping[str, Any]) -> bytes:
        self.done = True
        return DONE

    def _failure(self, event: Mapping[str, Any]) -> bytes:
        return self._fail(answer.error(event))

    def _count(self, said: Any) -> None:
        """Updates the usage. Later values replace earlier ones, and missing values stay."""
        if isinstance(said, dict):
            self._said.update((name, value) for name, value in said.items() if value is not None)

    def _open(self, identity: Any) -> None:
        """Sets what all chunks have in common."""
        head = {
            "id": identity or "chatcmpl-anthropic",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._name,
        }
        self._opened_with(head)


def read_so_far(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The usage from the start of a message, which only covers the prompt, without preliminary output tokens."""
    counted = answer.usage(said)
    del counted["completion_tokens"], counted["total_tokens"], counted["completion_tokens_details"]
    return counted if counted["prompt_tokens"] else None


_HANDLERS = {
    "message_start": ChunkStream._message_start,
    "content_block_start": ChunkStream._block_start,
    "content_block_stop": ChunkStream._block_stop,
    "message_delta": ChunkStream._message_delta,
    "message_stop": ChunkStream._message_stop,
    "error": ChunkStream._failure,
}
