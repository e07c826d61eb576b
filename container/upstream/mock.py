"""A deployment with LiteLLM's `mock_response`: answers without any provider, streamed too, with usage."""

import base64
import re
import struct
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson

from ..config import Deployment
from ..request.completion import Completion
from .answer import Plain, Stream
from .events import EventStream

_DIMENSIONS = 1536
_PIECES = re.compile(r"\S*\s*")


def answer(d: Deployment, request: Completion, name: str) -> Plain | Stream:
    """The configured text, named after the model that was asked for."""
    text = d.mock_response or ""
    prompt = _tokens(_texts(request.body.get("messages") or request.body.get("prompt") or request.body.get("input")))
    if request.endpoint == "embeddings":
        return _embeddings(request, name, prompt)
    usage = {"prompt_tokens": prompt, "completion_tokens": _tokens(text), "total_tokens": prompt + _tokens(text)}
    chat = request.endpoint == "chat_completions"
    head: dict[str, Any] = {
        "id": ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": name,
    }
    if request.stream:
        return _stream(request, head, text, usage, chat)
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **said, "finish_reason": "stop", "logprobs": None}
    return Plain(orjson.dumps({**head, "choices": [choice], "usage": usage}), usage)


def _stream(request: Completion, head: dict[str, Any], text: str, usage: dict, chat: bool) -> Stream:
    if chat:
        head["object"] = "chat.completion.chunk"
    pieces = [p for p in _PIECES.findall(text) if p] or [""]
    chunks = []
    for index, piece in enumerate(pieces):
        delta = {"role": "assistant", "content": piece} if index == 0 else {"content": piece}
        said = {"delta": delta} if chat else {"text": piece}
        chunks.append({**head, "choices": [{"index": 0, **said, "finish_reason": None}]})
    last = {"delta": {}} if chat else {"text": ""}
    chunks.append({**head, "choices": [{"index": 0, **last, "finish_reason": "stop"}]})
    if request.client_wants_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    events = EventStream(head["model"], drop_usage=False)
    events.usage, events.done = usage, True
    encoded = [b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks] + [b"data: [DONE]\n\n"]
    return Stream(encoded[0], _each(encoded[1:]), events)


async def _each(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _embeddings(request: Completion, name: str, prompt: int) -> Plain:
    wanted = request.body["input"]
    count = len(wanted) if isinstance(wanted, list) and not all(isinstance(v, int) for v in wanted) else 1
    vector: Any = [0.0] * int(request.body.get("dimensions") or _DIMENSIONS)
    if request.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)]
    return Plain(orjson.dumps({"object": "list", "data": data, "model": name, "usage": usage}), usage)


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_texts(v) for v in value)
    if isinstance(value, dict):
        return _texts(value.get("content") or value.get("text"))
    return "" if value is None else str(value)


def _tokens(text: str) -> int:
    """About four characters each; there is no model here that would count otherwise."""
    return (len(text) + 3) // 4
