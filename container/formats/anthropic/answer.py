"""Translates an Anthropic message, or the events of a stream, to a chat completion or its chunks, in LiteLLM's form.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from worker.core.pricing.usage import count

from ...routing.health import Outcome
from ..shared import failure
from ..shared.events import DONE, TranslatedStream
from ..shared.failure import says_error, words
from ..shared.wire import UNEXPECTED, UNREADABLE, Plain, json_object
from .request import JSON_TOOL, Translated

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "compaction": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# HTTP statuses of Anthropic's errors, which a stream does not include.
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_CALLS = ("tool_use", "server_tool_use")
_SEARCHED = ("web_search_tool_result", "web_fetch_tool_result")


def finish_reason(stop_reason: Any) -> str:
    return _FINISH.get(stop_reason, "stop")


def message(raw: bytes) -> dict[str, Any] | Outcome:
    """Parses a complete response with status 200, or returns the failure."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    if says_error(body) or (not isinstance(body.get("content"), list) and words(body)):
        return error(body)
    if not isinstance(body.get("content"), list):
        return Outcome("server", 0, "The provider's response has no content.")
    return body


def error(body: Mapping[str, Any]) -> Outcome:
    """Maps an error that came with status 200 or in a stream, from Anthropic or a compatible server."""
    said = body.get("error")
    if not isinstance(said, dict) or "type" not in said:
        return failure.from_error_event(body)
    status = STATUSES.get(str(said["type"]), 500)
    return failure.from_response(status, {}, orjson.dumps({"error": said}))


def unnamed_error(event: Mapping[str, Any]) -> Outcome | None:
    """The failure reported by an event without a known type, or None."""
    if event.get("type") in (None, "error") and (says_error(event) or words(event)):
        return error(event)
    return None


def plain(raw: bytes, name: str, asked: Translated) -> Plain | Outcome:
    body = message(raw)
    if isinstance(body, Outcome):
        return body
    try:
        return _plain(body, name, asked)
    except UNEXPECTED:
        return UNREADABLE


def _plain(body: Mapping[str, Any], name: str, asked: Translated) -> Plain:
    reason = finish_reason(body.get("stop_reason"))
    blocks = [b for b in body["content"] if isinstance(b, dict)]
    said, answered = _message(blocks, asked, body)
    used = body.get("usage")
    counted = usage(used) if isinstance(used, dict) else None
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop" if answered else reason}
    made = {
        "id": body.get("id") or "chatcmpl-anthropic",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [choice],
        "usage": counted,
    }
    return Plain(orjson.dumps(made), counted)


def _message(blocks: list[dict[str, Any]], asked: Translated, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The assistant message, and whether it contains nothing but the requested JSON."""
    text = "".join(str(b.get("text") or "") for b in blocks if b.get("type") == "text")
    thoughts = [b for b in blocks if b.get("type") in ("thinking", "redacted_thinking")]
    called = [b for b in blocks if b.get("type") in _CALLS]
    answers = [b for b in called if asked.json_tool and b.get("name") == JSON_TOOL]
    called = [b for b in called if b not in answers]
    if answers:
        text = text + _json(answers[0].get("input")) if called else _json(answers[0].get("input"))
    made: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if called:
        made["tool_calls"] = [_call(b, asked.names) for b in called]
    if thoughts:
        made["reasoning_content"] = "".join(str(b.get("thinking") or "") for b in thoughts)
        made["thinking_blocks"] = thoughts
    more = specific(blocks, body)
    if more:
        made["provider_specific_fields"] = more
    return made, bool(answers) and not called


def _json(value: Any) -> str:
    inner = value.get("values") if isinstance(value, dict) else None
    return orjson.dumps(value if inner is None else inner).decode()


def _call(block: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    name = block.get("name")
    function = {"name": names.get(str(name), name), "arguments": orjson.dumps(block.get("input") or {}).decode()}
    made = {"id": block.get("id"), "type": "function", "function": function}
    return {**made, "caller": block["caller"]} if block.get("caller") else made


def specific(blocks: Iterable[Mapping[str, Any]], body: Mapping[str, Any]) -> dict[str, Any]:
    """Content without an OpenAI equivalent, under LiteLLM's names: citations, searches, results of Anthropic's own
    tools.
    """
    found: dict[str, Any] = {}
    for block in blocks:
        kind = str(block.get("type"))
        if block.get("citations"):
            sources = [{**c, "supported_text": block.get("text", "")} for c in block["citations"]]
            found.setdefault("citations", []).append(sources)
        if kind in _SEARCHED:
            found.setdefault("web_search_results", []).append(block)
        elif kind.endswith("_tool_result") and kind != "tool_search_tool_result":
            found.setdefault("tool_results", []).append(block)
        elif kind == "compaction":
            found.setdefault("compaction_blocks", []).append(block)
    for name in ("context_management", "container"):
        if body.get(name) is not None:
            found[name] = body[name]
    return found


def usage(said: Mapping[str, Any]) -> dict[str, Any]:
    """Translates the usage. Anthropic counts cache reads and writes separately, while OpenAI's `prompt_tokens` include
    them.
    """
    listed = said.get("iterations")
    steps = [s for s in listed if isinstance(s, dict)] if isinstance(listed, list) else []
    inputs, outputs = _sum(said, steps, "input_tokens"), _sum(said, steps, "output_tokens")
    read, written = _sum(said, steps, "cache_read_input_tokens"), _sum(said, steps, "cache_creation_input_tokens")
    made: dict[str, Any] = {
        "prompt_tokens": inputs + read + written,
        "completion_tokens": outputs,
        "total_tokens": inputs + read + written + outputs,
        "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
    }
    hour = sum(_kept_for_an_hour(step) for step in steps) or _kept_for_an_hour(said)
    if hour:
        kept = {"ephemeral_5m_input_tokens": max(0, written - hour), "ephemeral_1h_input_tokens": hour}
        made["prompt_tokens_details"]["cache_creation_token_details"] = kept
    details = said.get("output_tokens_details")
    if isinstance(details, dict):
        made["completion_tokens_details"]["reasoning_tokens"] = min(count(details, "thinking_tokens"), outputs)
    for name in ("server_tool_use", "service_tier", "cache_creation"):
        if said.get(name) is not None:
            made[name] = said[name]
    return made


def _sum(said: Mapping[str, Any], steps: list[dict[str, Any]], name: str) -> int:
    return sum(count(step, name) for step in steps) if steps else count(said, name)


def _kept_for_an_hour(said: Mapping[str, Any]) -> int:
    """The tokens written to the one-hour cache, which costs more."""
    written = said.get("cache_creation")
    return count(written, "ephemeral_1h_input_tokens") if isinstance(written, dict) else 0


# Streams.


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
            failed = unnamed_error(event)
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
        more = specific((block,), {})
        return self._chunk({"provider_specific_fields": more}) if more else b""

    def _block_stop(self, event: Mapping[str, Any]) -> bytes:
        silent, self._silent_call, self._block, self._json = self._silent_call, False, "", False
        if not silent:
            return b""
        return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": "{}"}}]})

    def _message_delta(self, event: Mapping[str, Any]) -> bytes:
        self._begun = True
        self._count(event.get("usage"))
        self.usage = usage(self._said)
        delta = event.get("delta") or {}
        reason = delta.get("stop_reason")
        if not reason:
            return b""
        self.finished = True
        finish = "stop" if self._json_answered and self._calls < 0 else finish_reason(reason)
        more = {"provider_specific_fields": {"container": delta["container"]}} if delta.get("container") else {}
        made = self._head + orjson.dumps(more) + b',"finish_reason":' + orjson.dumps(finish) + b"}]}\n\n"
        return made + self._usage_chunk()

    def _message_stop(self, event: Mapping[str, Any]) -> bytes:
        self.done = True
        return DONE

    def _failure(self, event: Mapping[str, Any]) -> bytes:
        return self._fail(error(event))

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
    counted = usage(said)
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
