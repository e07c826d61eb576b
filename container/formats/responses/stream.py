"""Translates the events of OpenAI's Responses API to chat completion chunks.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from ..shared.answer import UNEXPECTED, UNREADABLE
from ..shared.events import DONE, TranslatedStream
from . import answer

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
        return self._chunk({"annotations": [answer.annotation(event["annotation"], start)]})

    def _thought(self, event: Mapping[str, Any]) -> bytes:
        """Separates reasoning parts with a blank line."""
        self._begun = True
        text = event.get("delta")
        if not text:
            return b""
        place = event.get("output_index"), event.get("summary_index", event.get("content_index"))
        if self._thoughts is not None and self._thoughts != place:
            text = answer.BETWEEN_THOUGHTS + text
        self._thoughts = place
        self._told.add(("thought", event.get("output_index"), None))
        return self._chunk({"reasoning_content": text})

    # Items

    def _item_added(self, event: Mapping[str, Any]) -> bytes:
        self._begun = True
        item = event.get("item") or {}
        return self._call_begins(event.get("output_index"), item) if item.get("type") in answer.CALLS else b""

    def _call_begins(self, place: Any, item: Mapping[str, Any]) -> bytes:
        """Begins a call, with the arguments known so far, which are usually none."""
        if place in self._calls:
            return b""
        self._calls[place] = index = len(self._calls)
        call = answer.call(item)
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
        if kind in answer.CALLS:
            if place not in self._calls:
                return self._call_begins(place, item)
            if ("call", place, None) in self._told:
                return b""
            self._told.add(("call", place, None))
            call = answer.call(item)
            if kind == "custom_tool_call":
                return self._more_of_call(place, "custom", "input", call["custom"]["input"])
            return self._more_of_call(place, "function", "arguments", call["function"]["arguments"])
        if kind == "reasoning" and ("kept", place, None) not in self._told:
            self._told.add(("kept", place, None))
            self._kept += answer.reasoning_items([item])
            return self._untold_thoughts(place, item)
        made = b""
        for index, part in enumerate(answer.content_parts([item])):
            at = {"output_index": place, "content_index": index}
            if part.get("type") == "refusal":
                made += self._refusal_done({**at, "refusal": part.get("refusal")})
            else:
                made += self._text_done({**at, "text": part.get("text")})
        return made

    def _untold_thoughts(self, place: Any, item: Mapping[str, Any]) -> bytes:
        if ("thought", place, None) in self._told:
            return b""
        text = answer.message([item]).get("reasoning_content")
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
            return self._fail(answer.error(response["error"]))
        self._begun = True
        made = b"".join([self._untold(place, item) for place, item in enumerate(response.get("output") or ()) if item])
        self.usage = answer.usage(response.get("usage"), response.get("output")) or self.usage
        self.finished = True
        if isinstance(response.get("service_tier"), str):
            self._tier = response["service_tier"]
            self._open({"id": response.get("id"), "created_at": response.get("created_at")})
        if event.get("type") == "response.incomplete":
            response = {"status": "incomplete", **response}
        finish = answer.finish_reason(response, called=bool(self._calls))
        delta = {"reasoning_items": self._kept} if self._kept else {}
        made += self._head + orjson.dumps(delta) + b',"finish_reason":' + orjson.dumps(finish) + b"}]}\n\n"
        made += self._usage_chunk()
        self.done = True
        return made + DONE

    def _failure(self, event: Mapping[str, Any]) -> bytes:
        """Handles an error: `response.failed` has it in its response, and `error` in a field or as the event itself."""
        response = event.get("response")
        if isinstance(response, dict):
            self.usage = answer.usage(response.get("usage"), response.get("output")) or self.usage
            said = response.get("error") or {"message": "The provider could not complete the response."}
        else:
            said = event.get("error") or event
        if isinstance(said, dict) and said.get("type") == "error":
            said = {name: value for name, value in said.items() if name != "type"}
        return self._fail(answer.error(said))

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
