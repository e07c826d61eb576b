"""Translates chat completions to responses of the Responses API, complete or streaming.

https://platform.openai.com/docs/api-reference/responses/object,
https://platform.openai.com/docs/api-reference/responses-streaming
"""

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from worker.core.pricing.usage import cached_elsewhere, count

from ....routing.health import Outcome
from ...shared.mend import arguments_text, new_call_id
from ...shared.wire import Events
from ..over_chat import EventsOfChat
from .request import CustomInput, Tools, seal

_SAME = (
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
)  # fmt: skip


def blank_response(name: str, created: float) -> dict[str, Any]:
    """A response that has not begun. `name` is the model's public name, `created` is in seconds since the epoch."""
    return {
        "id": "",
        "object": "response",
        "created_at": int(created),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": name,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def repeated_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request that the response repeats."""
    made = {name: body[name] for name in _SAME if name in body}
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, dict):
        made["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    if isinstance(text, dict):
        made["text"] = {"format": {"type": "text"}, **text}
    return made


# The codes that OpenAI's schema has for these kinds of failure. All others are a `server_error`.
_CODES = {"rate_limit": "rate_limit_exceeded", "content_policy": "invalid_prompt"}


def encoded_event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def failed_events(response: Mapping[str, Any], outcome: Outcome, number: int) -> bytes:
    """`response.failed` and `error`. OpenAI's SDKs raise an exception for the latter.

    `response` is the response so far, or empty if there is none. `number` is the next sequence number.
    """
    code = _CODES.get(outcome.kind, "server_error")
    error = {"code": code, "message": outcome.message}
    whole = {**(response or blank_response("", time.time())), "status": "failed", "error": error}
    shown = {**error, "param": outcome.param}
    return encoded_event("response.failed", {"response": whole, "sequence_number": number}) + encoded_event(
        "error", {**shown, "error": {"type": "server_error", **shown}, "sequence_number": number + 1}
    )


# A response is written piece by piece, as items and as the events of a stream. A text or a piece of reasoning ends when
# something else begins. Calls may overlap, as in chat completions: a call ends when its arguments are complete and
# something else begins, at the latest with the response.

Item = dict[str, Any]
# Calls that are announced before their input is known. Others have required fields for it.
_STREAMED = ("function_call", "custom_tool_call")
_FIELDS = {"output_text": "text", "refusal": "refusal"}


class _Open:
    """An item that has not ended. `at` identifies it in events."""

    __slots__ = ("at", "input", "item", "literals", "parts")

    def __init__(self, place: int, item: Item) -> None:
        self.item = item
        self.at = {"item_id": item["id"], "output_index": place}
        self.input = CustomInput()
        self.parts: list[str] = []  # pieces of reasoning, of a refusal, or of the arguments
        self.literals: list[bytes] = []  # pieces of the current text, as JSON strings

    def text(self) -> str:
        return "".join(self.parts)


class Writer:
    """`response` has the fields that do not change, `suffix` makes the ids of items unique, `tools` are those of the
    request, and `family` is as in `sealed`.

    Each method returns the events of what it adds, if the response `streams`. `output` has the items, in order.
    """

    def __init__(
        self, response: Mapping[str, Any], suffix: str, tools: Tools, family: str, *, streams: bool = True
    ) -> None:
        self.output: list[Item] = []
        self.number = 0
        self._streams = streams
        self._response = dict(response)
        self._suffix = suffix
        self._tools = tools
        self._family = family
        self._said: _Open | None = None  # the current message or reasoning
        self._calls: dict[int, _Open] = {}
        self._ended_calls: set[int] = set()
        self._signatures: list[Any] = []
        self._blank: list[str] = []  # white space that is only sent before more text
        self._delta = b"", b""  # the beginning and the end of the events of the current text, without the number
        self._status = "completed"  # of items that end now

    def begin(self) -> bytes:
        return self._event("response.created", {"response": self._response}) + self._event(
            "response.in_progress", {"response": self._response}
        )

    def text(self, text: str, logprobs: Any = None) -> bytes:
        said = self._said
        literal = orjson.dumps(text)
        if logprobs is None and (more := self.more_text(literal)):
            return more
        if text.isspace() and (said is None or not self._delta[0]):
            self._blank.append(text)  # servers send line breaks between calls, and Claude refuses blank text
            return b""
        opened = self._part("output_text")
        if self._blank:
            text = "".join(self._blank) + text
            literal = orjson.dumps(text)
            self._blank.clear()
        if logprobs is None:
            return opened + self.more_text(literal)
        assert self._said is not None, "a part has been opened"
        self._said.literals.append(literal)
        part = self._said.item["content"][-1]
        part["logprobs"] += logprobs
        at = {**self._said.at, "content_index": len(self._said.item["content"]) - 1}
        return opened + self._event("response.output_text.delta", {**at, "delta": text, "logprobs": logprobs})

    def more_text(self, literal: bytes) -> bytes:
        """Adds a JSON string to the current text. Returns b"" if there is none."""
        before, after = self._delta
        if self._said is None or not before:
            return b""
        self._said.literals.append(literal)
        number = self.number
        self.number = number + 1
        return before + literal + after % number

    def refusal(self, text: str) -> bytes:
        opened = self._part("refusal")
        assert self._said is not None, "a part has been opened"
        self._said.parts.append(text)
        at = {**self._said.at, "content_index": len(self._said.item["content"]) - 1}
        return opened + self._event("response.refusal.delta", {**at, "delta": text})

    def annotation(self, given: Mapping[str, Any]) -> bytes:
        """Adds a citation to the current text, if there is one."""
        if self._said is None or not self._delta[0]:
            return b""
        content = self._said.item["content"]
        notes = content[-1]["annotations"]
        notes.append(given)
        at = {**self._said.at, "content_index": len(content) - 1, "annotation_index": len(notes) - 1}
        return self._event("response.output_text.annotation.added", {**at, "annotation": given})

    def thought(self, text: str) -> bytes:
        """Adds visible reasoning."""
        opened = self._reasoning()
        assert self._said is not None, "an item has been opened"
        said, at = self._said, {**self._said.at, "summary_index": 0}
        if not text:
            return opened
        if not said.item["summary"]:
            part = {"type": "summary_text", "text": ""}
            said.item["summary"].append(part)
            opened += self._event("response.reasoning_summary_part.added", {**at, "part": part})
        said.parts.append(text)
        return opened + self._event("response.reasoning_summary_text.delta", {**at, "delta": text})

    def sealed(self, field: str, value: Any) -> bytes:
        """Adds what only the provider can read: signatures and encrypted reasoning. `field` is as in `sealed.seal`."""
        opened = self._reasoning()
        assert self._said is not None, "an item has been opened"
        self._said.item.setdefault("sealed", {}).setdefault(field, []).append(value)
        return opened

    def call(self, key: int, id: Any, name: Any, more: str) -> bytes:
        """Adds a piece of a call. `key` is its index in chat. `id` and `name` are set if this piece has them."""
        call = self._calls.get(key)
        opened = b""
        if call is None:
            if key in self._ended_calls or not (id or name):
                return b""
            opened = self._end_said() + self._end_calls(only_complete=True)
            item = self._tools.begun(str(id or ""), str(name or ""))
            call = self._calls[key] = self._open(item)
            if item["type"] in _STREAMED:
                opened += self._added(call)
        if not more:
            return opened
        call.parts.append(more)
        if call.item["type"] == "function_call":
            return opened + self._event("response.function_call_arguments.delta", {**call.at, "delta": more})
        if call.item["type"] != "custom_tool_call":
            return opened  # its input is only known once the arguments are complete
        piece = call.input.feed(more)
        return opened + self._input(call, piece) if piece else opened

    def sign(self, signature: Any) -> None:
        """Adds a signature that comes with the text, and is kept in an item behind it."""
        self._signatures.append(signature)

    def finish_items(self, reason: str | None) -> bytes:
        """Ends all items. `reason`: why the response is incomplete, or None."""
        self._status = "incomplete" if reason else "completed"
        blank, self._blank = "".join(self._blank), []
        made = b""
        if blank and not self.output:
            made = self._part("output_text") + self.more_text(orjson.dumps(blank))
        made += self._end_said() + self._end_calls(only_complete=False)
        for signature in self._signatures:
            # Signatures of calls are in their ids.
            if not any(str(item.get("call_id")).endswith(str(signature)) for item in self.output):
                made += self.sealed("signatures", signature)
        self._signatures.clear()
        return made + self._end_said()

    def finish(self, usage: Mapping[str, Any] | None, reason: str | None, tier: Any) -> bytes:
        """Ends the response. `reason`: why it is incomplete, or None."""
        made = self.finish_items(reason)
        kind = "incomplete" if reason else "completed"
        return made + self._event(f"response.{kind}", {"response": self.response(usage, reason, tier)})

    def response(self, usage: Mapping[str, Any] | None, reason: str | None, tier: Any) -> dict[str, Any]:
        made = {
            **self._response,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self.output,
            "usage": usage,
        }
        return {**made, "service_tier": tier} if isinstance(tier, str) else made

    def unsent(self) -> str:
        """The arguments of calls that are only told when they are complete."""
        return "".join([call.text() for call in self._calls.values() if call.item["type"] not in _STREAMED])

    def fail(self, outcome: Outcome) -> bytes:
        return failed_events({**self._response, "output": self._ended_items()}, outcome, self.number)

    # Items

    def _open(self, item: Item) -> _Open:
        place = len(self.output)
        self.output.append(item)
        item.setdefault("id", f"{_PREFIXES.get(item['type'], 'item')}_{self._suffix}{place:02x}")
        return _Open(place, item)

    def _added(self, opened: _Open) -> bytes:
        item = opened.item
        if "status" in item:
            item["status"] = "in_progress"
        return self._event("response.output_item.added", {"output_index": opened.at["output_index"], "item": item})

    def _done(self, opened: _Open) -> bytes:
        item = opened.item
        if "status" in item:
            item["status"] = self._status
        return self._event("response.output_item.done", {"output_index": opened.at["output_index"], "item": item})

    def _part(self, kind: str) -> bytes:
        """Opens a part of a message, unless it is the current one."""
        said = self._said
        if said is not None and said.item["type"] == "message":
            content = said.item["content"]
            if content and content[-1]["type"] == kind:
                return b""
            made = self._end_part()
        else:
            made = self._end_said() + self._end_calls(only_complete=True)
            item = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
            said = self._said = self._open(item)
            made += self._added(said)
            content = said.item["content"]
        index = len(content)
        part: Item = {"type": kind, _FIELDS[kind]: ""}
        if kind == "output_text":
            part |= {"annotations": [], "logprobs": []}
            start = {"type": "response.output_text.delta", **said.at, "content_index": index, "logprobs": []}
            head = b"event: response.output_text.delta\ndata: " + orjson.dumps(start)[:-1]
            self._delta = head + b',"delta":', b',"sequence_number":%d}\n\n'
        made += self._event("response.content_part.added", {**said.at, "content_index": index, "part": part})
        content.append(part)
        return made

    def _end_part(self) -> bytes:
        """Ends the current part of a message."""
        said = self._said
        if said is None or not said.item["content"]:
            return b""
        content = said.item["content"]
        part = content[-1]
        kind, at = part["type"], {**said.at, "content_index": len(content) - 1}
        text = said.text() if kind == "refusal" else _joined(said.literals)
        part[_FIELDS[kind]] = text
        said.parts.clear()
        said.literals.clear()
        self._delta = b"", b""
        more = {"text": text, "logprobs": part["logprobs"]} if kind == "output_text" else {"refusal": text}
        return self._event(f"response.{kind}.done", {**at, **more}) + self._event(
            "response.content_part.done", {**at, "part": part}
        )

    def _reasoning(self) -> bytes:
        """Opens an item for reasoning, unless it is the current one."""
        if self._said is not None and self._said.item["type"] == "reasoning":
            return b""
        made = self._end_said() + self._end_calls(only_complete=True)
        self._said = self._open({"type": "reasoning", "summary": []})
        return made + self._added(self._said)

    def _end_said(self) -> bytes:
        """Ends the current message or reasoning."""
        said = self._said
        if said is None:
            return b""
        if said.item["type"] == "message":
            made = self._end_part()
            self._said = None
            return made + self._done(said)
        self._said = None
        made, text, at = b"", said.text(), {**said.at, "summary_index": 0}
        if said.item["summary"]:
            part = said.item["summary"][0]
            part["text"] = text
            made = self._event("response.reasoning_summary_text.done", {**at, "text": text})
            made += self._event("response.reasoning_summary_part.done", {**at, "part": part})
        kept = said.item.pop("sealed", {})
        said.item["encrypted_content"] = seal(self._family, text, kept)
        return made + self._done(said)

    def _end_calls(self, *, only_complete: bool) -> bytes:
        made = b""
        for key, call in list(self._calls.items()):
            text = call.text()
            if only_complete and not _is_complete(text):
                continue
            del self._calls[key]
            self._ended_calls.add(key)
            made += self._end_call(call, text)
        return made

    def _end_call(self, call: _Open, arguments: str) -> bytes:
        item = call.item
        if item["type"] == "function_call":
            item["arguments"] = arguments
            at = {**call.at, "name": item["name"]}
            return self._event("response.function_call_arguments.done", {**at, "arguments": arguments}) + self._done(
                call
            )
        self._tools.complete(item, arguments)
        if item["type"] != "custom_tool_call":
            return self._added(call) + self._done(call)
        said = "".join(call.input.said)
        if not item["input"].startswith(said):
            item["input"] = said  # what has been said cannot be taken back
        rest = item["input"][len(said) :]
        made = self._input(call, rest) if rest else b""
        made += self._event("response.custom_tool_call_input.done", {**call.at, "input": item["input"]})
        return made + self._done(call)

    def _input(self, call: _Open, piece: str) -> bytes:
        return self._event("response.custom_tool_call_input.delta", {**call.at, "delta": piece})

    def _ended_items(self) -> list[Item]:
        """The items that are complete."""
        open_now = [call.item for call in self._calls.values()]
        if self._said is not None:
            open_now.append(self._said.item)
        return [item for item in self.output if item not in open_now]

    def _event(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        if not self._streams:
            return b""
        number = self.number
        self.number = number + 1
        return encoded_event(kind, {**fields, "sequence_number": number})


_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "local_shell_call": "lsh",
    "shell_call": "sh",
    "apply_patch_call": "apc",
}


def _joined(literals: Iterable[bytes]) -> str:
    """Joins JSON strings. A provider may split a surrogate pair."""
    joined = b'"' + b"".join([literal[1:-1] for literal in literals]) + b'"'
    try:
        return orjson.loads(joined)
    except orjson.JSONDecodeError:
        return str(json.loads(joined)).encode("utf-8", "replace").decode()


def _is_complete(arguments: str) -> bool:
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


# The chat completion and its chunks.

# Why a response is incomplete, by chat's finish reason.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_TEXT = b'"delta":{"content":'
_LITERAL = re.compile(rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_MOST_TRIES = 3  # with streams whose chunks all differ
_OLD_STYLE = -1  # the key of the single legacy `function_call`


class Asked(NamedTuple):
    """What the response has to know of the request.

    `repeated` are the fields of the request that the response repeats. `family` is as in `sealed`.
    """

    repeated: Mapping[str, Any]
    tools: Tools
    family: str

    def writer(self, name: str, *, streams: bool = True) -> Writer:
        """`name` is the model's public name."""
        suffix = uuid.uuid4().hex
        response = {**blank_response(name, time.time()), **self.repeated, "id": f"resp_{suffix}"}
        return Writer(response, suffix, self.tools, self.family, streams=streams)


def usage(said: Any) -> dict[str, Any]:
    counts = said if isinstance(said, dict) else {}
    details, made = counts.get("prompt_tokens_details"), counts.get("completion_tokens_details")
    details, made = (one if isinstance(one, dict) else {} for one in (details, made))
    prompt, completion = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    written = count(details, "cache_creation_tokens") or count(counts, "cache_creation_input_tokens")
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count(details, "cached_tokens") or cached_elsewhere(counts),
            "cache_write_tokens": written or count(details, "cache_write_tokens"),
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": count(made, "reasoning_tokens")},
        "total_tokens": count(counts, "total_tokens") or prompt + completion,
    }


def response(body: Mapping[str, Any], name: str, asked: Asked) -> dict[str, Any]:
    """Translates a chat completion. Only the first of several choices is used."""
    choice = (body.get("choices") or [{}])[0]
    writer = asked.writer(name, streams=False)
    _add(writer, choice.get("message") or {}, choice)
    reason = _INCOMPLETE.get(str(choice.get("finish_reason")))
    writer.finish_items(reason)
    return writer.response(usage(body.get("usage")), reason, body.get("service_tier"))


def _add(writer: Writer, said: Mapping[str, Any], choice: Mapping[str, Any]) -> bytes:
    """Adds a message or a delta."""
    made = b""
    thought = said.get("reasoning_content")
    if thought:
        made += writer.thought(thought)
    for block in said.get("thinking_blocks") or ():
        made += writer.sealed("blocks", block)
    text = said.get("content")
    if text:
        logprobs = choice.get("logprobs")
        found = logprobs.get("content") if isinstance(logprobs, dict) else None
        made += writer.text(text, found or None)
    for note in said.get("annotations") or ():
        kind = note.get("type")
        made += writer.annotation({"type": kind, **(note.get(kind) or {})})
    if said.get("refusal"):
        made += writer.refusal(said["refusal"])
    for place, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        key = call["index"] if call.get("index") is not None else place
        pieces = arguments_text(function.get("arguments"))
        made += writer.call(key, call.get("id"), function.get("name"), pieces)
    function = said.get("function_call")
    if function:
        pieces = arguments_text(function.get("arguments"))
        made += writer.call(_OLD_STYLE, new_call_id(), function.get("name"), pieces)
    of_provider = said.get("provider_specific_fields")
    if isinstance(of_provider, dict):
        for signature in of_provider.get("thought_signatures") or ():
            writer.sign(signature)
    return made


class ResponseEvents(EventsOfChat):
    """Translates a stream. `inner` turns the provider's stream into chat completion chunks."""

    def __init__(self, inner: Events, name: str, asked: Asked) -> None:
        super().__init__(inner)
        self._writer = asked.writer(name)
        self._finish: str | None = None
        self._tier: Any = None
        self._usual = b"", b""  # what is before and behind the text of a chunk
        self._tries = _MOST_TRIES

    @property
    def unsent(self) -> bytes:
        """What the model has said and the client has not been told yet, as an event. It is charged for."""
        said = self._writer.unsent()
        return b"data: " + orjson.dumps({"delta": said}) + b"\n\n" if said else b""

    def broken(self, outcome: Outcome) -> bytes:
        """The events that tell the client of a stream that broke off."""
        return self._start() + self._writer.fail(outcome)

    def _last(self, said: Mapping[str, Any] | None) -> bytes:
        reason = _INCOMPLETE.get(str(self._finish))
        return self._start() + self._writer.finish(usage(said), reason, self._tier)

    def _failure(self, outcome: Outcome) -> bytes:
        return self._writer.fail(outcome)

    def _parsed(self, chunks: bytes, told: list[bytes]) -> list[dict[str, Any]]:
        """Parses the chunks, except for those that only continue the text as earlier ones did. The events of these are
        added to `told`.
        """
        before, behind = self._usual
        at = 0
        while before and chunks.startswith(before, at):
            start = at + len(before)
            end = chunks.find(behind, start)  # no JSON string contains the blank line behind a chunk
            literal = chunks[start:end] if end > 0 else b""
            more = self._writer.more_text(literal) if _LITERAL.fullmatch(literal) else b""
            if not more:
                break
            told.append(more)
            at = end + len(behind)
        if at:
            chunks = chunks[at:]
        found = self._reader.feed(chunks) if chunks else []
        if self._tries and len(found) == 1 and _only_says(found[0]) and chunks.count(b"\n\n") == 1:
            self._tries -= 1
            self._learn(chunks)
        return found

    def _learn(self, chunk: bytes) -> None:
        """Remembers what is around the text of a chunk. In most streams, it is the same in all chunks."""
        at = chunk.find(_TEXT)
        found = _LITERAL.match(chunk, at + len(_TEXT)) if at > 0 else None
        if found and chunk.endswith(b"\n\n"):
            self._usual = chunk[: found.start()], chunk[found.end() :]

    def _chunk(self, chunk: Mapping[str, Any]) -> bytes:
        choices = chunk.get("choices")
        if chunk.get("error") and not choices:
            return self.broken(self._inner.failed or Outcome("server", 0, "The provider answered with an error."))
        if not choices or choices[0].get("index"):
            return b""
        choice = choices[0]
        made = b"" if self._started else self._start()
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]
        if chunk.get("service_tier"):
            self._tier = chunk["service_tier"]
        delta = choice.get("delta")
        return made + _add(self._writer, delta, choice) if delta else made

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return self._writer.begin()


def _only_says(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk contains nothing but a piece of text."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return False
    choice = choices[0]
    delta = choice.get("delta")
    if not isinstance(delta, dict) or delta.keys() != {"content"} or not isinstance(delta["content"], str):
        return False
    others = {name for name, value in choice.items() if value not in (None, 0)} | {
        name for name in ("error", "usage") if chunk.get(name)
    }
    return others == {"delta"}
