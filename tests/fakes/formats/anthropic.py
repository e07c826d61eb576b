"""Anthropic's Messages API, plain and as named server-sent events."""

from typing import Any

import orjson

from ..answers import Reply, Tool, Turn, pieces, reply_to, text_of
from ..record import Recorded
from .base import Events, Format, Match, Refusal, Setting, sse

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
# What a strict provider requires to be sent back with the thinking.
SIGNATURE = "EqQBCkYIARgCKkDfake" + "A" * 40
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}


def match(path: str) -> Match | None:
    if path.endswith("/messages"):
        return Match(ANTHROPIC, "messages")
    if path.endswith("/messages/count_tokens"):
        return Match(ANTHROPIC, "count_tokens")
    return None


class Anthropic(Format):
    name = "anthropic"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.api_key:
            return Refusal(401, "x-api-key header is required")
        if "anthropic-version" not in seen.headers:
            return Refusal(400, "anthropic-version: header is required")
        if not isinstance(seen.body, dict):
            return Refusal(400, "The request body is not valid JSON")
        required = ("model", "messages") if endpoint == "count_tokens" else ("model", "messages", "max_tokens")
        missing = next((name for name in required if not seen.body.get(name)), None)
        return Refusal(400, f"{missing}: Field required") if missing else None

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return endpoint == "messages" and bool(seen.body.get("stream"))

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": ERROR_TYPES.get(status, "api_error"), "message": message}}

    def error_event(self, message: str) -> bytes:
        return sse(self.error(529, message), "error")

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> dict[str, Any]:
        reply = reply_to(_turn(seen.body), setting.behaviour)
        if endpoint == "count_tokens":
            return {"input_tokens": reply.prompt_tokens}
        message = _message(seen, setting.number, reply)
        return {
            **message,
            "content": _blocks(seen.body, setting, reply),
            "stop_reason": _STOP[reply.finish],
            "usage": {**message["usage"], "output_tokens": reply.completion_tokens},
        }

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        reply = reply_to(_turn(seen.body), setting.behaviour)
        events = Events(head=[_event("message_start", message=_message(seen, setting.number, reply))])
        for index, block in enumerate(_blocks(seen.body, setting, reply)):
            opening, deltas = _streamed(block, setting.chunks)
            start = _event("content_block_start", index=index, content_block=opening)
            if index == 0:
                events.head += [start, _event("ping")]
            else:
                events.content += [_event("content_block_stop", index=index - 1), start]
            events.content += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
            events.tail = [_event("content_block_stop", index=index)]
        stop = {"stop_reason": _STOP[reply.finish], "stop_sequence": None}
        events.tail += [
            _event("message_delta", delta=stop, usage={"output_tokens": reply.completion_tokens}),
            _event("message_stop"),
        ]
        return events


def _blocks(body: dict[str, Any], setting: Setting, reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if setting.behaviour.scripted and (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        blocks.append({"type": "thinking", "thinking": "Let me think about that.", "signature": SIGNATURE})
    if reply.text or reply.call is None:
        blocks.append({"type": "text", "text": reply.text})
    if reply.call is not None:
        blocks.append({**_tool_use(reply, setting.number), "input": reply.call.arguments})
    return blocks


def _streamed(block: dict[str, Any], chunks: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The block as it starts, and its deltas."""
    match block["type"]:
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": part} for part in pieces(block["thinking"], chunks)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": p} for p in pieces(block["text"], chunks)]
        case _:
            parts = pieces(orjson.dumps(block["input"]).decode(), chunks)
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _turn(body: dict[str, Any]) -> Turn:
    messages: list[dict[str, Any]] = body["messages"]
    last = next((m for m in reversed(messages) if m["role"] == "user"), {"content": ""})
    results = [] if isinstance(last["content"], str) else [b for b in last["content"] if b["type"] == "tool_result"]
    choice = body.get("tool_choice") or {"type": "auto"}
    texts = [text_of(m["content"]) for m in messages]
    if body.get("system"):
        texts.insert(0, text_of(body["system"]))
    return Turn(
        texts=texts,
        last=text_of(results[-1].get("content")) if results else text_of(last["content"]),
        from_user=not results,
        tools=[Tool(t["name"], t.get("input_schema") or {}) for t in body.get("tools") or ()],
        choice=choice.get("name") or choice["type"],
        max_tokens=body.get("max_tokens"),
        schema=((body.get("output_config") or {}).get("format") or body.get("output_format") or {}).get("schema"),
    )


def _message(seen: Recorded, number: int, reply: Reply) -> dict[str, Any]:
    """A message as it is at the start of a stream."""
    return {
        "id": f"msg_fake_{number}",
        "type": "message",
        "role": "assistant",
        "model": seen.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": reply.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    }


def _tool_use(reply: Reply, number: int) -> dict[str, Any]:
    assert reply.call is not None
    return {"type": "tool_use", "id": f"toolu_fake_{number}", "name": reply.call.name}


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


ANTHROPIC = Anthropic()
