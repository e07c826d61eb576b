"""OpenAI's wire format: chat completions, completions, embeddings, responses and the model list."""

import base64
import re
import struct
import time
from collections.abc import Callable
from typing import Any

import orjson

from ..answers import Reply, Tool, Turn, embedding, pieces, reply_to, text_of
from ..behaviour import Behaviour
from ..record import Recorded
from . import responses
from .base import Events, Format, Match, Refusal, Setting, sse

# Providers respond with the snapshot behind an alias.
SNAPSHOT = "-2026-01-01"
DEFAULT_DIMENSIONS = 8
FINGERPRINT = "fp_fake"
ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls"}
_PATHS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/models": "models",
    "/responses": "responses",
}
# Fields that chat completions reject, and the error messages, from reports at https://community.openai.com.
_RESPONSES_ONLY = re.compile(r"codex-mini|gpt-5(\.\d)?-(codex|pro)|o\d-pro|deep-research")
_NO_TOOLS = re.compile(r"gpt-5\.[4-9]")


def match(path: str) -> Match | None:
    return next((Match(OPENAI, name) for suffix, name in _PATHS.items() if path.endswith(suffix)), None)


class OpenAI(Format):
    name = "openai"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.api_key:
            return Refusal(401, "You didn't provide an API key.")
        if endpoint == "models":
            return None
        if not isinstance(seen.body, dict):
            return Refusal(400, "We could not parse the JSON body of your request.")
        if seen.model is None:
            return Refusal(400, "you must provide a model parameter")
        required = {"chat": "messages", "completions": "prompt"}.get(endpoint, "input")
        if not seen.body.get(required):
            return Refusal(400, f"Missing required parameter: '{required}'.")
        if endpoint == "responses":
            return responses.refusal(seen)
        return _not_for_chat(seen) if endpoint == "chat" else None

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return endpoint in ("chat", "completions", "responses") and bool(seen.body.get("stream"))

    def answering_model(self, seen: Recorded) -> str:
        """The name in the response's `model`."""
        return f"{seen.model}{SNAPSHOT}"

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind, code = ERROR_TYPES.get(status, ("server_error", None) if status >= 500 else ERROR_TYPES[400])
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> dict[str, Any]:
        if endpoint == "responses":
            return responses.plain(seen, setting, self.answering_model(seen))
        return {"chat": self._chat, "completions": self._completion, "embeddings": self._embeddings}[endpoint](
            seen, setting
        )

    def _chat(self, seen: Recorded, setting: Setting) -> dict[str, Any]:
        body = seen.body
        reply = reply_to(chat_turn(body), setting.behaviour)
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
        if reply.call:
            message |= {"content": reply.text or None, "tool_calls": [_tool_call(reply, setting.number)]}
        finish = {"logprobs": None, "finish_reason": _FINISH[reply.finish]}
        return {
            "id": f"chatcmpl-fake-{setting.number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.answering_model(seen),
            "choices": [{"index": i, "message": message, **finish} for i in range(_choices(body))],
            "usage": usage(reply, _choices(body)),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def _completion(self, seen: Recorded, setting: Setting) -> dict[str, Any]:
        body = seen.body
        reply = reply_to(completion_turn(body), setting.behaviour)
        finish = {"logprobs": None, "finish_reason": _FINISH[reply.finish]}
        return {
            "id": f"cmpl-fake-{setting.number}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.answering_model(seen),
            "choices": [{"text": reply.text, "index": i, **finish} for i in range(_choices(body))],
            "usage": usage(reply, _choices(body)),
        }

    def _embeddings(self, seen: Recorded, setting: Setting) -> dict[str, Any]:
        body = seen.body
        dimensions = body.get("dimensions") or DEFAULT_DIMENSIONS
        vectors = [embedding(text, dimensions) for text in _inputs(body["input"])]
        encode: Callable[[list[float]], Any] = _base64 if body.get("encoding_format") == "base64" else list
        tokens = (setting.behaviour.usage or (sum(_count_input(i) for i in _inputs(body["input"])), 0))[0]
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)],
            "model": self.answering_model(seen),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        body, behaviour = seen.body, setting.behaviour
        if endpoint == "responses":
            return responses.events(seen, setting, self.answering_model(seen))
        reply = reply_to(chat_turn(body) if endpoint == "chat" else completion_turn(body), behaviour)
        choices = _choices(body)
        chunk = _Chunk(self.answering_model(seen), endpoint, setting.number, _usage_field(body, behaviour, reply))
        events = Events(end=b"data: [DONE]\n\n" if behaviour.done else b"")
        if endpoint == "chat":
            _chat_deltas(events, chunk, reply, setting, choices)
        else:
            events.content = [chunk.text(i, p) for p in pieces(reply.text, setting.chunks) for i in range(choices)]
        for i in range(choices):
            last = chunk.finish(i, _FINISH[reply.finish])
            if behaviour.usage_in == "finish" and i == choices - 1:
                last = chunk.with_usage(last, usage(reply, choices))
            events.tail.append(last)
        if behaviour.usage_in == "always" or (behaviour.usage_in == "asked" and include_usage(body)):
            events.tail.append(chunk.usage_only(usage(reply, choices)))
        return events


def _not_for_chat(seen: Recorded) -> Refusal | None:
    model, body = seen.model or "", seen.body
    if _RESPONSES_ONLY.search(model):
        return Refusal(404, "This model is only supported in v1/responses and not in v1/chat/completions.")
    functions = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    if functions and _NO_TOOLS.search(model) and body.get("reasoning_effort") != "none":
        return Refusal(
            400,
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. To use "
            "function tools, use /v1/responses or set reasoning_effort to 'none'.",
        )
    return None


def _chat_deltas(events: Events, chunk: "_Chunk", reply: Reply, setting: Setting, choices: int) -> None:
    if reply.call is None:
        role = {"role": "assistant", "content": "", "refusal": None}
        events.content = [chunk.text(i, p) for p in pieces(reply.text, setting.chunks) for i in range(choices)]
    else:
        call = _tool_call(reply, setting.number)
        first = {"index": 0, **call, "function": {**call["function"], "arguments": ""}}
        role = {"role": "assistant", "content": None, "tool_calls": [first]}
        if reply.text:  # spoken before the call
            role = {"role": "assistant", "content": "", "refusal": None}
            events.content = [chunk.text(i, p) for p in pieces(reply.text, setting.chunks) for i in range(choices)]
            events.content += [chunk.delta(i, {"tool_calls": [first]}) for i in range(choices)]
        events.content += [
            chunk.delta(i, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
            for part in pieces(call["function"]["arguments"], setting.chunks)
            for i in range(choices)
        ]
    events.head = [chunk.delta(i, role) for i in range(choices)]


class _Chunk:
    """Writes the chunks of one stream. Everything but the variable part of a text chunk is serialized once."""

    def __init__(self, model: str, endpoint: str, number: int, usage_field: bytes) -> None:
        self._chat = endpoint == "chat"
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-fake-{number}",
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }
        opening = orjson.dumps(self._head)[:-1]
        self._before = b"data: " + opening + b',"choices":[{"index":'
        self._text_key = b',"delta":{"content":' if self._chat else b',"text":'
        self._after = (b"}" if self._chat else b"") + b',"logprobs":null,"finish_reason":null}]'
        self._usage_field = usage_field

    def text(self, index: int, piece: str) -> bytes:
        return b"".join(
            (
                self._before,
                b"%d" % index,
                self._text_key,
                orjson.dumps(piece),
                self._after,
                self._usage_field,
                b"}\n\n",
            )
        )

    def delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self._event({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})

    def finish(self, index: int, reason: str) -> bytes:
        content: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._event({"index": index, **content, "logprobs": None, "finish_reason": reason})

    def usage_only(self, numbers: dict[str, Any]) -> bytes:
        return sse({**self._head, "choices": [], "usage": numbers})

    def with_usage(self, event: bytes, numbers: dict[str, Any]) -> bytes:
        return sse({**orjson.loads(event.removeprefix(b"data: ")), "usage": numbers})

    def _event(self, choice: dict[str, Any]) -> bytes:
        event = orjson.dumps({**self._head, "choices": [choice]})
        return b"data: " + event[:-1] + self._usage_field + b"}\n\n"


def include_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def _usage_field(body: dict[str, Any], behaviour: Behaviour, reply: Reply) -> bytes:
    """The usage field of each chunk: OpenAI writes null into all of them if usage was requested."""
    if behaviour.usage_in == "every":
        return b',"usage":' + orjson.dumps(usage(reply, _choices(body)))
    return b',"usage":null' if behaviour.usage_in == "asked" and include_usage(body) else b""


def usage(reply: Reply, choices: int = 1) -> dict[str, Any]:
    completion = reply.completion_tokens * choices
    said: dict[str, Any] = {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": reply.prompt_tokens + completion,
    }
    if reply.usage_details is not None:
        cached, reasoning = reply.usage_details
        said["prompt_tokens_details"] = {"cached_tokens": cached}
        said["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return said


def chat_turn(body: dict[str, Any]) -> Turn:
    messages = [m for m in body["messages"] if isinstance(m, dict)]
    last = next((m for m in reversed(messages) if m.get("role") in ("user", "tool")), {})
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        choice = choice.get("function", {}).get("name", "any")
    functions = [tool["function"] for tool in body.get("tools") or ()]
    return Turn(
        texts=[text_of(m.get("content")) for m in messages],
        last=text_of(last.get("content")),
        from_user=last.get("role") == "user",
        tools=[Tool(f["name"], f.get("parameters") or {}) for f in functions],
        choice="any" if choice == "required" else choice,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        schema=((body.get("response_format") or {}).get("json_schema") or {}).get("schema"),
    )


def completion_turn(body: dict[str, Any]) -> Turn:
    text = "".join(_inputs(body["prompt"]))
    return Turn([text], text, True, (), "none", body.get("max_tokens"))


def _tool_call(reply: Reply, number: int) -> dict[str, Any]:
    assert reply.call is not None
    arguments = orjson.dumps(reply.call.arguments).decode()
    return {
        "id": f"call_fake_{number}",
        "type": "function",
        "function": {"name": reply.call.name, "arguments": arguments},
    }


def _choices(body: dict[str, Any]) -> int:
    return body.get("n") or 1


def _inputs(value: Any) -> list[str]:
    """A string, strings, tokens, or lists of tokens, each as one text."""
    if isinstance(value, str):
        return [value]
    if value and all(isinstance(token, int) for token in value):
        return [" ".join(map(str, value))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in value]


def _count_input(text: str) -> int:
    return -(-len(text.encode()) // 4)


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


OPENAI = OpenAI()
