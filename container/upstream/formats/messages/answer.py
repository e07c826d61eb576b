"""A chat completion as a message of Anthropic's."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.ledger.usage import cached_elsewhere, count

from ...tool_calls import new_id

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
    """`body`: a chat completion; of several choices the first."""
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
        "usage": usage(body.get("usage")),
    }


def arguments(given: Any) -> Any:
    """Models write what is meant to be JSON, and not always well."""
    try:
        return orjson.loads(given) if given else {}
    except (orjson.JSONDecodeError, TypeError):
        return {}


def usage(said: Any) -> dict[str, int]:
    """Anthropic counts what came from a cache, or went to one, apart."""
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
