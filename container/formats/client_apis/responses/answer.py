"""Translates chat completions to responses of the Responses API, complete or streaming."""

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.core.pricing.usage import cached_elsewhere, count

from ....routing.outcome import Outcome
from ...shared.answer import Events
from ...shared.mend import arguments_text, new_id
from ..over_chat import EventsOfChat
from . import head
from .tools import Tools
from .writer import Writer

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
        response = {**head.blank(name, time.time()), **self.repeated, "id": f"resp_{suffix}"}
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
        made += writer.call(_OLD_STYLE, new_id(), function.get("name"), pieces)
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
