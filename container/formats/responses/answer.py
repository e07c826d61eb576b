"""Translates a response of OpenAI's Responses API to a chat completion.

https://platform.openai.com/docs/api-reference/responses/object
"""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from worker.core.pricing.usage import runs_of_items

from ...routing.outcome import Outcome
from ..shared import failure
from ..shared.answer import UNEXPECTED, UNREADABLE, Plain, json_object

CALLS = ("function_call", "custom_tool_call")
_STATUSES = {"vector_store_timeout": 504, "rate_limit_exceeded": 429, "insufficient_quota": 429}
# Error codes that blame the request, such as `invalid_prompt`, `image_too_large`, `failed_to_download_image` and
# `context_length_exceeded`. https://platform.openai.com/docs/api-reference/responses/object#responses/object-error
_BLAMES_REQUEST = re.compile(r"invalid|image|unsupported|context_|content_|too_l|policy|missing")
# Some servers restart the numbering of calls in each response. Only the item's own id is unique then.
_NUMBERED = re.compile(r"call_\d+")
BETWEEN_THOUGHTS = "\n\n"


def plain(raw: bytes, name: str) -> Plain | Outcome:
    """Translates a complete response with status 200. `name` is the model's public name."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    said = body.get("error")
    if said:
        return error(said)
    if body.get("status") in ("failed", "cancelled") or not isinstance(body.get("output"), list):
        return Outcome("server", 0, "The provider's response has no output.", unread=bool(body.get("usage")))
    try:
        return _plain(body, name)
    except UNEXPECTED:
        return UNREADABLE


def _plain(body: Mapping[str, Any], name: str) -> Plain:
    said = message(body["output"])
    counted = usage(body.get("usage"), body["output"])
    choice = {
        "index": 0,
        "message": said,
        "logprobs": _logprobs(body["output"]),
        "finish_reason": finish_reason(body, called="tool_calls" in said),
    }
    made = {
        "id": body.get("id") or "chatcmpl-responses",
        "object": "chat.completion",
        "created": _seconds(body.get("created_at")),
        "model": name,
        "choices": [choice],
        "usage": counted,
    }
    if isinstance(body.get("service_tier"), str):
        made["service_tier"] = body["service_tier"]
    return Plain(orjson.dumps(made), counted)


def message(output: Iterable[Any]) -> dict[str, Any]:
    """Builds the assistant message from the output items."""
    items = [item for item in output if isinstance(item, dict)]
    text, refusal, notes = "", "", []
    for part in content_parts(items):
        if part.get("type") == "refusal":
            refusal += str(part.get("refusal") or "")
            continue
        notes += [annotation(each, len(text)) for each in part.get("annotations") or ()]
        text += str(part.get("text") or "")
    calls = [call(item) for item in items if item.get("type") in CALLS]
    thoughts = [thought for item in items if item.get("type") == "reasoning" for thought in _thoughts(item)]
    kept = reasoning_items(items)
    made: dict[str, Any] = {"role": "assistant", "content": text or (None if calls or refusal else "")}
    made["refusal"] = refusal or None
    if notes:
        made["annotations"] = notes
    if calls:
        made["tool_calls"] = calls
    if thoughts:
        made["reasoning_content"] = BETWEEN_THOUGHTS.join(thoughts)
    if kept:
        made["reasoning_items"] = kept
    return made


def content_parts(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [part for item in items if item.get("type") == "message" for part in item.get("content") or ()]


def call(item: Mapping[str, Any]) -> dict[str, Any]:
    """Translates a call of a function, or of a custom tool with its input."""
    if item["type"] == "custom_tool_call":
        custom = {"name": item.get("name"), "input": _text(item.get("input"))}
        return {"id": call_id(item), "type": "custom", "custom": custom}
    function = {"name": item.get("name"), "arguments": _text(item.get("arguments"))}
    return {"id": call_id(item), "type": "function", "function": function}


def call_id(item: Mapping[str, Any]) -> str:
    named, own = item.get("call_id"), item.get("id")
    if named and not (_NUMBERED.fullmatch(named) and own):
        return named
    return str(own or named or "")


def _text(value: Any) -> str:
    """Arguments as a string. Some servers write an object."""
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def annotation(given: Mapping[str, Any], offset: int) -> dict[str, Any]:
    """Translates an annotation. `offset` is the position of its part within the whole text."""
    inner = {name: value for name, value in given.items() if name != "type"}
    for name in ("start_index", "end_index"):
        if isinstance(inner.get(name), int):
            inner[name] += offset
    kind = str(given.get("type"))
    return {"type": kind, kind: inner}


def reasoning_items(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Encrypted reasoning that the client can return in the next request, in LiteLLM's format."""
    return [
        {
            "id": item.get("id"),
            "type": "reasoning",
            "encrypted_content": item["encrypted_content"],
            "summary": item.get("summary") or [],
        }
        for item in items
        if item.get("type") == "reasoning" and item.get("encrypted_content")
    ]


def _thoughts(item: Mapping[str, Any]) -> list[str]:
    """The summary, or the full reasoning of open models."""
    parts = item.get("summary") or item.get("content") or ()
    return [str(part["text"]) for part in parts if part.get("text")]


def _logprobs(output: Iterable[Any]) -> dict[str, Any] | None:
    parts = content_parts(item for item in output if isinstance(item, dict))
    found = [each for part in parts for each in part.get("logprobs") or ()]
    return {"content": found, "refusal": None} if found else None


def finish_reason(body: Mapping[str, Any], *, called: bool) -> str:
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if reason == "content_filter":
        return "content_filter"
    if reason or body.get("status") == "incomplete":
        return "length"
    return "tool_calls" if called else "stop"


def usage(said: Any, output: Any = None) -> dict[str, Any] | None:
    """Translates the usage. `output`: the response's items, which tell what OpenAI's own tools did."""
    if not isinstance(said, dict):
        return None
    inputs, outputs = said.get("input_tokens") or 0, said.get("output_tokens") or 0
    made = {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "total_tokens": said.get("total_tokens") or inputs + outputs,
        "prompt_tokens_details": {"cached_tokens": 0, **_object(said.get("input_tokens_details"))},
        "completion_tokens_details": {"reasoning_tokens": 0, **_object(said.get("output_tokens_details"))},
    }
    runs = runs_of_items(output)
    if runs:
        made["tool_runs"] = dict(runs)
    return made


def _object(value: Any) -> dict[str, Any]:
    return {n: v for n, v in value.items() if v is not None} if isinstance(value, dict) else {}


def error(said: Any) -> Outcome:
    """Maps an error that came with status 200 or in a stream."""
    fields = said if isinstance(said, dict) else {"message": str(said)}
    code = str(fields.get("code") or fields.get("type") or "").lower()
    status = _STATUSES.get(code) or (400 if _BLAMES_REQUEST.search(code) else 500)
    return failure.from_response(status, {}, orjson.dumps({"error": fields}))


def _seconds(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value else int(time.time())
