"""OpenAI's Responses API, as strict as reported: no unknown fields, no small limits, nothing stored.

https://platform.openai.com/docs/api-reference/responses
"""

import re
import time
from collections.abc import Iterable
from typing import Any

import orjson

from ..answers import Reply, Tool, Turn, pieces, reply_to
from ..record import Recorded
from .base import Events, Refusal, Setting, sse

_FIELDS = frozenset(
    "model input instructions stream stream_options temperature top_p tools tool_choice parallel_tool_calls "
    "max_output_tokens max_tool_calls reasoning text truncation include top_logprobs user metadata store service_tier "
    "safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention background conversation "
    "previous_response_id prompt client_metadata context_management moderation".split()
)
_LEAST_OUTPUT = 16
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ANSWERED_WHOLE = frozenset(("gpt-5-pro", "o1-pro"))
_REASONS = re.compile(r"gpt-5|o\d|codex")
_PARTS = {
    "assistant": frozenset(("output_text", "refusal")),
    "user": frozenset(("input_text", "input_image", "input_file", "input_audio")),
}
# Tools that OpenAI runs, or that it knows without a declaration.
_HOSTED = frozenset(
    "web_search web_search_preview image_generation tool_search mcp file_search code_interpreter computer "
    "computer_use_preview local_shell shell apply_patch".split()
)
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
THOUGHT = "**Thinking** about it."
ENCRYPTED = "gAAAA-fake-reasoning"
_stored: dict[str, dict[str, Any]] = {}  # items by id


def refusal(seen: Recorded) -> Refusal | None:
    body = seen.body
    unknown = next((name for name in body if name not in _FIELDS), None)
    if unknown:
        return Refusal(400, f"Unknown parameter: '{unknown}'.")
    limit = body.get("max_output_tokens")
    if limit is not None and limit < _LEAST_OUTPUT:
        return Refusal(400, f"Invalid 'max_output_tokens': integer below minimum value. Expected >= {_LEAST_OUTPUT}.")
    if body.get("stream") and body["model"] in _ANSWERED_WHOLE:
        return Refusal(400, "Unsupported value: 'stream' does not support true with this model.")
    if "reasoning.encrypted_content" in (body.get("include") or ()) and not _REASONS.search(body["model"]):
        return Refusal(400, "Encrypted content is not supported with this model.")
    wrong = next((found for tool in body.get("tools") or () if (found := _wrong_tool(tool))), None)
    if wrong:
        return Refusal(400, wrong)
    given = body["input"] if isinstance(body["input"], list) else []
    return _wrong_items(given)


def _wrong_tool(tool: dict[str, Any]) -> str | None:
    kind = tool.get("type")
    if kind == "namespace":
        return next((wrong for inner in tool["tools"] if (wrong := _wrong_tool(inner))), None)
    if kind in _HOSTED:
        return None
    if kind not in ("function", "custom"):
        return f"Invalid value: '{kind}'. tools[].type"
    if not isinstance(tool.get("name"), str):
        return "Missing required parameter: 'tools[0].name'."
    if not _NAME.fullmatch(tool["name"]):
        return "Invalid 'tools[0].name': string does not match pattern."
    if kind == "function" and not isinstance(tool.get("parameters"), dict | None):
        return "Invalid type for 'tools[0].parameters': expected an object."
    allowed = {"type", "name", "description", "parameters", "strict", "format", "defer_loading", "output_schema"}
    return next((f"Unknown parameter: 'tools[0].{name}'." for name in tool if name not in allowed), None)


def _wrong_items(items: list[dict[str, Any]]) -> Refusal | None:
    called: dict[str, str] = {}
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        known = item.get("id") in _stored
        if not known and (kind == "item_reference" or (kind == "reasoning" and not item.get("encrypted_content"))):
            return Refusal(404, f"Item with id '{item.get('id')}' not found. Items are not persisted.")
        if kind == "item_reference":
            item = _stored[item["id"]]
            kind = item["type"]
        if kind in _CALLS:
            if not _ID.fullmatch(item["call_id"]):
                return Refusal(400, f"Invalid 'input[{at}].call_id'.")
            if kind == "function_call" and not isinstance(item["arguments"], str):
                return Refusal(400, f"Invalid type for 'input[{at}].arguments': expected a string.")
            called[item["call_id"]] = _CALLS[kind]
        elif kind in _CALLS.values():
            if called.pop(item["call_id"], None) != kind:
                return Refusal(400, f"No tool call found for function call output with call_id {item['call_id']}.")
        elif kind == "message":
            wrong = _wrong_message(item, at)
            if wrong:
                return Refusal(400, wrong)
        elif kind != "reasoning":
            return Refusal(400, f"Invalid value: '{kind}'. input[{at}].type")
    missing = next(iter(called), None)
    return Refusal(400, f"No tool output found for function call {missing}.") if missing else None


def _wrong_message(item: dict[str, Any], at: int) -> str | None:
    unknown = item.keys() - {"type", "role", "content", "id", "status", "phase"}
    if unknown:
        return f"Unknown parameter: 'input[{at}].{min(unknown)}'."
    parts = item["content"] if isinstance(item["content"], list) else []
    allowed = _PARTS.get(item["role"], _PARTS["user"])
    for part in parts:
        if part.get("type") not in allowed:
            return f"Invalid value: '{part.get('type')}'. Supported values are: {sorted(allowed)}."
        if "cache_control" in part:
            return f"Unknown parameter: 'input[{at}].content[0].cache_control'."
    return None


def turn(body: dict[str, Any]) -> Turn:
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    said = [i for i in items if i.get("type", "message") == "message" or str(i.get("type")).endswith("_output")]
    last = next((i for i in reversed(said) if i.get("role") in (None, "user")), {})
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        choice = choice.get("name", "any")
    tools = _callable(body.get("tools") or ())
    form = (body.get("text") or {}).get("format") or {}
    return Turn(
        texts=[body.get("instructions") or "", *(_text(i) for i in said)],
        last=_text(last),
        from_user=last.get("role") == "user",
        tools=[Tool(t["name"], t.get("parameters") or {}) for t in tools],
        choice="any" if choice == "required" else choice,
        max_tokens=body.get("max_output_tokens"),
        schema=form.get("schema"),
    )


def _callable(tools: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The functions and custom tools, also those in namespaces."""
    found: list[dict[str, Any]] = []
    for tool in tools:
        if tool["type"] == "namespace":
            found += [{**inner, "namespace": tool["name"]} for inner in _callable(tool["tools"])]
        elif tool["type"] in ("function", "custom"):
            found.append(tool)
    return found


def _text(item: dict[str, Any]) -> str:
    content = item.get("content", item.get("output"))
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def plain(seen: Recorded, setting: Setting, model: str) -> dict[str, Any]:
    body = seen.body
    reply = reply_to(turn(body), setting.behaviour)
    cut = reply.finish == "length"
    output = _output(body, reply, setting.number)
    if body.get("store", True):
        _stored.update({item["id"]: item for item in output})
    return {
        "id": f"resp_fake_{setting.number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "metadata": {},
        "usage": _usage(reply),
    }


def _output(body: dict[str, Any], reply: Reply, number: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if _REASONS.search(body["model"]):
        wants_summary = bool((body.get("reasoning") or {}).get("summary"))
        summary = [{"type": "summary_text", "text": THOUGHT}] if wants_summary else []
        item: dict[str, Any] = {"id": f"rs_fake_{number}", "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            item["encrypted_content"] = ENCRYPTED
        items.append(item)
    if reply.text or reply.call is None:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        items.append(
            {
                "id": f"msg_fake_{number}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [part],
            }
        )
    if reply.call is None:
        return items
    (tool, *_) = (tool for tool in _callable(body["tools"]) if tool["name"] == reply.call.name)
    arguments = orjson.dumps(reply.call.arguments).decode()
    call = {"status": "completed", "call_id": f"call_fake_{number}_x", "name": reply.call.name}
    if "namespace" in tool:
        call["namespace"] = tool["namespace"]
    if tool["type"] == "custom":
        items.append({"id": f"ctc_fake_{number}", "type": "custom_tool_call", **call, "input": arguments})
    else:
        items.append({"id": f"fc_fake_{number}", "type": "function_call", **call, "arguments": arguments})
    return items


def _usage(reply: Reply) -> dict[str, Any]:
    cached, reasoning = reply.usage_details or (0, 0)
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def events(seen: Recorded, setting: Setting, model: str) -> Events:
    return streamed(plain(seen, setting, model), setting.chunks)


def streamed(response: dict[str, Any], chunks: int) -> Events:
    """The events of a whole response."""
    made = Events()
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return sse({"type": kind, "sequence_number": number - 1, **fields}, kind)

    early = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    made.head = [event("response.created", response=early), event("response.in_progress", response=early)]
    for place, item in enumerate(response["output"]):
        at = {"output_index": place, "item_id": item["id"]}
        for is_delta, kind, fields in _item_events(item, chunks):
            data = event(kind, **(at if "item" not in fields else {"output_index": place}), **fields)
            # Everything before the first delta is the head.
            (made.content if made.content or is_delta else made.head).append(data)
    last = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
    made.tail = [event(last, response=response)]
    return made


def _item_events(item: dict[str, Any], chunks: int) -> list[tuple[bool, str, dict[str, Any]]]:
    """(is a delta, type, fields) for each event."""
    kind = item["type"]
    told: list[tuple[bool, str, dict[str, Any]]] = []
    if kind == "reasoning":
        told.append((False, "response.output_item.added", {"item": {**item, "summary": []}}))
        for index, part in enumerate(item["summary"]):
            at = {"summary_index": index}
            told.append((False, "response.reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}))
            for piece in pieces(part["text"], 2):
                told.append((True, "response.reasoning_summary_text.delta", {**at, "delta": piece}))
            told.append((False, "response.reasoning_summary_text.done", {**at, "text": part["text"]}))
            told.append((False, "response.reasoning_summary_part.done", {**at, "part": part}))
    elif kind == "message":
        told.append((False, "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}))
        for index, part in enumerate(item["content"]):
            at = {"content_index": index}
            text, name = ("refusal", "refusal") if part["type"] == "refusal" else ("text", "output_text")
            told.append((False, "response.content_part.added", {**at, "part": {**part, text: ""}}))
            more: dict[str, Any] = {"logprobs": []} if name == "output_text" else {}
            for piece in pieces(part[text], chunks):
                told.append((True, f"response.{name}.delta", {**at, "delta": piece, **more}))
            told.append((False, f"response.{name}.done", {**at, text: part[text], **more}))
            told.append((False, "response.content_part.done", {**at, "part": part}))
    else:
        field, name = ("input", "custom_tool_call_input") if kind == "custom_tool_call" else ("arguments", kind)
        name = name if field == "input" else "function_call_arguments"
        told.append((False, "response.output_item.added", {"item": {**item, "status": "in_progress", field: ""}}))
        for piece in pieces(item[field], chunks):
            told.append((True, f"response.{name}.delta", {"delta": piece}))
        named = {"name": item["name"]} if field == "arguments" else {}
        told.append((False, f"response.{name}.done", {field: item[field], **named}))
    told.append((False, "response.output_item.done", {"item": item}))
    return told
