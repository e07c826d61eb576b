"""Translates a response of OpenAI's Responses API, or its events, to a chat completion or its chunks.

https://platform.openai.com/docs/api-reference/responses/object,
https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from worker.core.pricing.usage import runs_of_items

from ...routing.health import Outcome
from ..shared import failure
from ..shared.events import DONE, TranslatedStream
from ..shared.wire import UNEXPECTED, UNREADABLE, Plain, json_object

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
    calls = [chat_call(item) for item in items if item.get("type") in CALLS]
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


def chat_call(item: Mapping[str, Any]) -> dict[str, Any]:
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


# Streams.

_ROLE = {"role": "assistant", "content": ""}


class ChunkStream(TranslatedStream):
    """Translates a stream. `name` is the model's public name. `wants_usage` means that the client requested the usage
    chunk.
    """

    def __init__(self, name: str, *, wants_usage: bool) -> None:
        super().__init__(name, wants_usage=wants_usage)
        self._calls: dict[Any, int] = {}  # maps `output_index` to the index of the call in chat
        self._told: set[Any] = set()  # content already sent as deltas, by kind and position
        self._starts: dict[Any, int] = {}  # the offset of each part in the text, in characters
        self._length = 0  # the length of the text so far
        self._opened = False
        self._thoughts: tuple[Any, Any] | None = None  # the position of the latest reasoning
        self._kept: list[dict[str, Any]] = []
        self._tier: str | None = None
        self._open({})

    def _translate(self, event: Mapping[str, Any]) -> bytes:
        if self.failed or self._error or self.finished:
            return b""
        try:
            made = self._handled(event)
        except UNEXPECTED:
            return self._fail(UNREADABLE)
        if self._opened or not made:
            return made
        self._opened = True  # the server does not send `response.created`
        return self._chunk(_ROLE) + made

    def _handled(self, event: Mapping[str, Any]) -> bytes:
        kind = event.get("type")
        if kind == "response.output_text.delta":
            return self._said(event)
        handler = _HANDLERS.get(str(kind))
        if handler is not None:
            return handler(self, event)
        if event.get("object") == "response":  # a complete response instead of a stream
            return self._whole(event)
        return self._failure(event) if kind is None and event.get("error") else b""

    # Text

    def _said(self, event: Mapping[str, Any]) -> bytes:
        text = event["delta"]
        self._begun = True
        self._starts.setdefault((event.get("output_index"), event.get("content_index")), self._length)
        self._length += len(text)
        if event.get("logprobs"):
            logprobs = {"content": event["logprobs"], "refusal": None}
            return self._chunk({"content": text}, b',"logprobs":' + orjson.dumps(logprobs))
        return self._head + b'{"content":' + orjson.dumps(text) + b"}" + self._after

    def _refused(self, event: Mapping[str, Any]) -> bytes:
        self._begun = True
        self._told.add(("refusal", event.get("output_index"), event.get("content_index")))
        return self._chunk({"refusal": event["delta"]})

    def _text_done(self, event: Mapping[str, Any]) -> bytes:
        if (event.get("output_index"), event.get("content_index")) in self._starts or not event.get("text"):
            return b""
        return self._said({**event, "delta": event["text"], "logprobs": None})

    def _refusal_done(self, event: Mapping[str, Any]) -> bytes:
        if ("refusal", event.get("output_index"), event.get("content_index")) in self._told:
            return b""
        return self._refused({**event, "delta": event["refusal"]})

    def _annotated(self, event: Mapping[str, Any]) -> bytes:
        start = self._starts.get((event.get("output_index"), event.get("content_index")), 0)
        return self._chunk({"annotations": [annotation(event["annotation"], start)]})

    def _thought(self, event: Mapping[str, Any]) -> bytes:
        """Separates reasoning parts with a blank line."""
        self._begun = True
        text = event.get("delta")
        if not text:
            return b""
        place = event.get("output_index"), event.get("summary_index", event.get("content_index"))
        if self._thoughts is not None and self._thoughts != place:
            text = BETWEEN_THOUGHTS + text
        self._thoughts = place
        self._told.add(("thought", event.get("output_index"), None))
        return self._chunk({"reasoning_content": text})

    # Items

    def _item_added(self, event: Mapping[str, Any]) -> bytes:
        self._begun = True
        item = event.get("item") or {}
        return self._call_begins(event.get("output_index"), item) if item.get("type") in CALLS else b""

    def _call_begins(self, place: Any, item: Mapping[str, Any]) -> bytes:
        """Begins a call, with the arguments known so far, which are usually none."""
        if place in self._calls:
            return b""
        self._calls[place] = index = len(self._calls)
        call = chat_call(item)
        said = call["custom"]["input"] if call["type"] == "custom" else call["function"]["arguments"]
        if said:
            self._told.add(("call", place, None))
        return self._chunk({"tool_calls": [{"index": index, **call}]})

    def _arguments(self, event: Mapping[str, Any]) -> bytes:
        place = event.get("output_index")
        self._told.add(("call", place, None))
        return self._more_of_call(place, "function", "arguments", event.get("delta"))

    def _input(self, event: Mapping[str, Any]) -> bytes:
        place = event.get("output_index")
        self._told.add(("call", place, None))
        return self._more_of_call(place, "custom", "input", event.get("delta"))

    def _more_of_call(self, place: Any, kind: str, field: str, more: Any) -> bytes:
        if not more or place not in self._calls:
            return b""
        return self._chunk({"tool_calls": [{"index": self._calls[place], kind: {field: more}}]})

    def _item_done(self, event: Mapping[str, Any]) -> bytes:
        """Sends what the item's deltas have not covered."""
        item, place = event.get("item") or {}, event.get("output_index")
        self._begun = True
        return self._untold(place, item)

    def _untold(self, place: Any, item: Mapping[str, Any]) -> bytes:
        kind = item.get("type")
        if kind in CALLS:
            if place not in self._calls:
                return self._call_begins(place, item)
            if ("call", place, None) in self._told:
                return b""
            self._told.add(("call", place, None))
            call = chat_call(item)
            if kind == "custom_tool_call":
                return self._more_of_call(place, "custom", "input", call["custom"]["input"])
            return self._more_of_call(place, "function", "arguments", call["function"]["arguments"])
        if kind == "reasoning" and ("kept", place, None) not in self._told:
            self._told.add(("kept", place, None))
            self._kept += reasoning_items([item])
            return self._untold_thoughts(place, item)
        made = b""
        for index, part in enumerate(content_parts([item])):
            at = {"output_index": place, "content_index": index}
            if part.get("type") == "refusal":
                made += self._refusal_done({**at, "refusal": part.get("refusal")})
            else:
                made += self._text_done({**at, "text": part.get("text")})
        return made

    def _untold_thoughts(self, place: Any, item: Mapping[str, Any]) -> bytes:
        if ("thought", place, None) in self._told:
            return b""
        text = message([item]).get("reasoning_content")
        return self._thought({"output_index": place, "delta": text}) if text else b""

    # Response

    def _created(self, event: Mapping[str, Any]) -> bytes:
        self._open(event.get("response") or {})
        self._opened = True
        return self._chunk(_ROLE)

    def _whole(self, response: Mapping[str, Any]) -> bytes:
        if response.get("error") or response.get("status") in ("failed", "cancelled"):
            return self._failure({"response": response})
        return self._created({"response": response}) + self._completed({"response": response})

    def _completed(self, event: Mapping[str, Any]) -> bytes:
        response = event.get("response") or {}
        if response.get("error"):
            return self._fail(error(response["error"]))
        self._begun = True
        made = b"".join([self._untold(place, item) for place, item in enumerate(response.get("output") or ()) if item])
        self.usage = usage(response.get("usage"), response.get("output")) or self.usage
        self.finished = True
        if isinstance(response.get("service_tier"), str):
            self._tier = response["service_tier"]
            self._open({"id": response.get("id"), "created_at": response.get("created_at")})
        if event.get("type") == "response.incomplete":
            response = {"status": "incomplete", **response}
        finish = finish_reason(response, called=bool(self._calls))
        delta = {"reasoning_items": self._kept} if self._kept else {}
        made += self._head + orjson.dumps(delta) + b',"finish_reason":' + orjson.dumps(finish) + b"}]}\n\n"
        made += self._usage_chunk()
        self.done = True
        return made + DONE

    def _failure(self, event: Mapping[str, Any]) -> bytes:
        """Handles an error: `response.failed` has it in its response, and `error` in a field or as the event itself."""
        response = event.get("response")
        if isinstance(response, dict):
            self.usage = usage(response.get("usage"), response.get("output")) or self.usage
            said = response.get("error") or {"message": "The provider could not complete the response."}
        else:
            said = event.get("error") or event
        if isinstance(said, dict) and said.get("type") == "error":
            said = {name: value for name, value in said.items() if name != "type"}
        return self._fail(error(said))

    def _open(self, response: Mapping[str, Any]) -> None:
        """Sets what all chunks have in common."""
        head = {
            "id": response.get("id") or "chatcmpl-responses",
            "object": "chat.completion.chunk",
            "created": int(response.get("created_at") or time.time()),
            "model": self._name,
        }
        if self._tier:
            head["service_tier"] = self._tier
        self._opened_with(head)


_HANDLERS = {
    "response.created": ChunkStream._created,
    "response.output_item.added": ChunkStream._item_added,
    "response.output_item.done": ChunkStream._item_done,
    "response.output_text.done": ChunkStream._text_done,
    "response.output_text.annotation.added": ChunkStream._annotated,
    "response.refusal.delta": ChunkStream._refused,
    "response.refusal.done": ChunkStream._refusal_done,
    "response.reasoning_summary_text.delta": ChunkStream._thought,
    "response.reasoning_text.delta": ChunkStream._thought,
    "response.function_call_arguments.delta": ChunkStream._arguments,
    "response.custom_tool_call_input.delta": ChunkStream._input,
    "response.completed": ChunkStream._completed,
    "response.incomplete": ChunkStream._completed,
    "response.failed": ChunkStream._failure,
    "response.cancelled": ChunkStream._failure,
    "error": ChunkStream._failure,
}
