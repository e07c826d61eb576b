"""Converts a complete response to a stream of events, and a stream to a complete response.

Some servers ignore `stream: true`, and others stream without being asked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from ...routing.outcome import Outcome
from .events import EventStream
from .sse import payload, split

_STREAM = re.compile(rb"(?:data|event|id|retry) ?:|:")
BROKEN_OFF = Outcome("server", 0, "The provider ended its stream in the middle of the answer.", unread=True)


def is_stream(head: bytes) -> bool:
    """Whether a body that starts with `head` is an event stream, whatever its content type says."""
    return _STREAM.match(head) is not None


def as_events(body: Any) -> bytes:
    """Converts a response of OpenAI's or Anthropic's to events.

    Any other body, such as a Gemini response or an error, becomes a single event.
    """
    if isinstance(body, list):
        return b"".join(_data(item) for item in body)
    choices = body.get("choices") if isinstance(body, dict) else None
    if isinstance(choices, list) and any(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        return b"".join(_chunks(body, choices)) + b"data: [DONE]\n\n"
    if isinstance(body, dict) and body.get("type") == "message" and isinstance(body.get("content"), list):
        return b"".join(_data(e, e["type"]) for e in _message_events(body))
    return _data(body) + (b"data: [DONE]\n\n" if choices else b"")


def whole(raw: bytes) -> bytes | Outcome:
    """Joins an OpenAI stream to a chat completion."""
    stream = EventStream("", drop_usage=False)
    events = stream.feed(raw) + stream.end()
    begun = stream.begins(events)
    if isinstance(begun, Outcome):
        return begun
    if stream.failed is not None:
        return stream.failed
    if not begun or stream.cut_off:
        return BROKEN_OFF
    chunks = [chunk for event in split(events) if (chunk := payload(event)) is not None]
    head = {name: value for chunk in reversed(chunks) for name, value in chunk.items() if value is not None}
    joined: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict):
                index = choice.get("index")
                _join(joined.setdefault(index if type(index) is int else 0, {}), choice)
    for choice in joined.values():
        for call in choice.get("message", {}).get("tool_calls", ()):
            del call["index"]
    made = [{"index": index, **choice} for index, choice in sorted(joined.items())]
    chat = not any("text" in choice for choice in made)
    object = "chat.completion" if chat else "text_completion"
    return orjson.dumps(
        {**head, "object": object, "choices": made, **({"usage": stream.usage} if stream.usage else {})}
    )


def _data(value: Any, kind: str = "") -> bytes:
    return (b"event: " + kind.encode() + b"\n" if kind else b"") + b"data: " + orjson.dumps(value) + b"\n\n"


def _chunks(body: Mapping[str, Any], choices: list[Any]) -> Iterator[bytes]:
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    for at, choice in enumerate(c for c in choices if isinstance(c, dict)):
        rest = {name: value for name, value in choice.items() if name != "message"}
        index = rest.setdefault("index", at)
        delta = dict(choice.get("message") or {})
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [{"index": i, **c} if isinstance(c, dict) else c for i, c in enumerate(calls)]
        yield _data({**head, "choices": [{**rest, "delta": delta, "finish_reason": None}]})
        last = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
        used = {"usage": body["usage"]} if body.get("usage") and at == len(choices) - 1 else {}
        yield _data({**head, "choices": [last], **used})


def _message_events(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}
    for index, block in enumerate(b for b in body["content"] if isinstance(b, dict)):
        head, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": head}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": body.get("stop_reason") or "end_turn", "stop_sequence": body.get("stop_sequence")}
    yield {"type": "message_delta", "delta": stop, "usage": body.get("usage") or {}}
    yield {"type": "message_stop"}


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The start of a content block and its deltas."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text") or ""}]
    if kind == "thinking":
        thought = {"type": "thinking_delta", "thinking": block.get("thinking") or ""}
        signed = {"type": "signature_delta", "signature": block.get("signature") or ""}
        return {**block, "thinking": "", "signature": ""}, [thought, signed]
    if kind in ("tool_use", "server_tool_use"):
        given = orjson.dumps(block.get("input") or {}).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return block, []


def _join(made: dict[str, Any], choice: Mapping[str, Any]) -> None:
    if choice.get("finish_reason"):
        made["finish_reason"] = choice["finish_reason"]
    if isinstance(choice.get("text"), str):
        made["text"] = made.get("text", "") + choice["text"]
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    message = made.setdefault("message", {"role": "assistant", "content": None})
    for name, value in delta.items():
        if name == "tool_calls":
            _join_calls(message.setdefault("tool_calls", []), value if isinstance(value, list) else ())
        elif name == "function_call" and isinstance(value, dict):
            _join_texts(message.setdefault("function_call", {}), value)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif isinstance(value, list):
            message[name] = [*(message.get(name) or ()), *value]
        elif value is not None:
            message[name] = value


def _join_calls(calls: list[dict[str, Any]], pieces: Iterable[Any]) -> None:
    """Joins calls in order of appearance. `ChunkMender` gives every piece an index, except possibly those of custom
    tools.
    """
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        call = next((one for one in calls if one["index"] == piece.get("index")), None)
        if call is None:
            call = {"index": piece.get("index"), "id": piece.get("id") or "", "type": piece.get("type") or "function"}
            calls.append(call)
        call["id"] = call["id"] or piece.get("id") or ""
        for kind in ("function", "custom"):
            if isinstance(piece.get(kind), dict):
                _join_texts(call.setdefault(kind, {}), piece[kind])


def _join_texts(made: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if isinstance(value, str):
            made[name] = made.get(name, "") + value
