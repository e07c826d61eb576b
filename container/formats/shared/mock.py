"""Serves deployments with LiteLLM's `mock_response` without a provider, including streams and usage."""

import base64
import re
import struct
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from ...config.deployment import Deployment
from ...request.completion import Completion
from ...routing.health import Outcome
from .chat_stream import EventStream
from .events import DONE
from .wire import Answer, Plain, Stream

_DIMENSIONS = 1536
# More than any provider supports.
_MAX_DIMENSIONS = 16_384
_MAX_INPUTS = 2048
_PIECES = re.compile(r"\S*\s*")


def answer(d: Deployment, request: Completion, name: str) -> Answer:
    """The configured text under the requested model name. Embeddings are zero vectors."""
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
    encoded = [b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks] + [DONE]
    return Stream(encoded[0], _each(encoded[1:]), events)


async def _each(parts: list[bytes]) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


def _embeddings(request: Completion, name: str, prompt: int) -> Plain | Outcome:
    wanted = request.body["input"]
    count = len(wanted) if isinstance(wanted, list) and not all(isinstance(v, int) for v in wanted) else 1
    dimensions = request.body.get("dimensions") or _DIMENSIONS
    if count > _MAX_INPUTS:
        return Outcome("caller", 400, f"'input' may contain {_MAX_INPUTS} texts at most.", param="input")
    if dimensions > _MAX_DIMENSIONS:
        return Outcome("caller", 400, f"'dimensions' may be {_MAX_DIMENSIONS} at most.", param="dimensions")
    vector: Any = [0.0] * dimensions
    if request.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)]
    return Plain(orjson.dumps({"object": "list", "data": data, "model": name, "usage": usage}), usage)


def _texts(value: Any) -> str:
    """Joins all texts in messages, a prompt or an input, at any depth."""
    found, waiting = [], [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            waiting.append(value.get("content") or value.get("text"))
        elif value is not None:
            found.append(str(value))
    return " ".join(found)


def _tokens(text: str) -> int:
    """Estimates four characters per token. No real tokenizer applies to a mock."""
    return (len(text) + 3) // 4
