"""Requests of the Responses API that are passed through to a provider that has it, and their responses.

The labels, call ids and tool names of a request are adapted to the provider
(https://platform.openai.com/docs/api-reference/responses/create#responses-create-input). In a response, only the
model name is replaced. Deltas pass unparsed. The events that describe the whole response (created, in progress,
completed) are parsed, because they have the model name, the usage and failures
(https://platform.openai.com/docs/api-reference/responses-streaming).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from ....config.deployment import Deployment
from ....routing.health import Outcome
from ...responses.answer import error, usage
from ...shared import failure
from ...shared.capabilities import capabilities, gives_reasoning
from ...shared.events import SAY_NOTHING, EventCutter, data_of, payload, split
from ...shared.tool_identifiers import fitted_item_ids, fitted_names, names_given_back
from ...shared.wire import UNEXPECTED, UNREADABLE, Plain, json_object
from .answer import encoded_event, failed_events
from .request import is_ours

# The request.

# Higher than in chat completions.
_LONGEST_ID = 64
# Providers that accept OpenAI's labels. Others may refuse them.
_LABELLED = ("openai", "azure", "xai", "openrouter")
_OPENAIS = frozenset("prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier".split())
# For non-reasoning models, these refuse the reasoning of other models.
_OF_OPENAI = ("openai", "azure")


class Fitted(NamedTuple):
    """The result of adapting a request.

    `fields` are the changed fields. `names` maps the tool names sent to the client's names. `dropped` are fields that
    the provider does not know and that do not affect the response.
    """

    fields: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}
    dropped: frozenset[str] = frozenset()


def fitted(d: Deployment, model: str, fields: Mapping[str, Any]) -> Fitted:
    """Adapts a request that is passed through."""
    dropped = frozenset() if d.provider in _LABELLED else _OPENAIS.intersection(fields)
    if d.provider not in _LABELLED and fields.get("top_logprobs") == 0:
        dropped |= {"top_logprobs"}
    can = capabilities(d, model)
    length = None if can.call_id_length is None else max(can.call_id_length, _LONGEST_ID)
    made: dict[str, Any] = {}
    items = fields.get("input")
    if isinstance(items, list):
        items = _without_reasoning(items, all=d.provider in _OF_OPENAI and not gives_reasoning(d, model))
        if items is not fields["input"]:
            made["input"] = items
    if isinstance(items, list):
        fit = fitted_item_ids(items, length, can.call_id_pattern)
        if fit is not items:
            made["input"] = fit
    changed, names = fitted_names({**fields, **made}, can.tool_name_length)
    if names:
        made.update({name: changed[name] for name in ("tools", "tool_choice", "input") if name in changed})
    return Fitted(made, names, dropped)


def _without_reasoning(items: list[Any], *, all: bool) -> list[Any]:
    """Removes the reasoning of models that were reached through chat, or `all` reasoning. Returns the same list if
    there is none.
    """
    kept = [item for item in items if not (_is_reasoning(item) and (all or is_ours(item.get("encrypted_content"))))]
    return items if len(kept) == len(items) else kept


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"


# The response.

_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
# Events of a response that has not begun: it is queued or accepted. Another deployment can still take over.
_BEFORE_IT_BEGINS = frozenset(("response.created", "response.in_progress", "response.queued"))
_ENDS = frozenset(("response.completed", "response.incomplete"))
_FAILS = frozenset(("response.failed", "response.cancelled", "error"))
# Only events with these markers are inspected.
_LOOKED_INTO = (b'"response"', b'"error"', b"event: error")


def passed_response(raw: bytes, name: str) -> Plain | Outcome:
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    refused = failed_response(body)
    if refused is not None:
        return refused
    try:
        used = usage(body.get("usage"), body["output"])
    except UNEXPECTED:
        return UNREADABLE
    if body.get("model") != name:
        body["model"] = name
        raw = orjson.dumps(body)
    return Plain(raw, used)


def failed_response(body: Mapping[str, Any]) -> Outcome | None:
    """The failure that a complete response describes, or None."""
    said = body.get("error")
    if said:
        return error(said)
    if body.get("status") in ("failed", "cancelled") or not isinstance(body.get("output"), list):
        return Outcome("server", 0, "The provider's response has no output.", unread=bool(body.get("usage")))
    return None


class PassedEvents:
    """A stream that is passed through. `name` is the model's public name. `names` are the client's tool names by the
    names sent.
    """

    def __init__(self, name: str, names: Mapping[str, str] | None = None) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._names = names or {}
        self._cutter = EventCutter()
        self._response: dict[str, Any] = {}  # the response as it was when it began
        self._last = b""  # what was passed last
        self._done = False
        self._begun = False
        self._error: Outcome | None = None

    def feed(self, data: bytes) -> bytes:
        passed = self._passed(data)
        return names_given_back(passed, self._names) if self._names else passed

    def _passed(self, data: bytes) -> bytes:
        data = self._cutter.complete(data)
        if self.failed or self._error or self._done:
            return b""
        if self._begun and not any(marker in data for marker in _LOOKED_INTO) and b"[DONE]" not in data:
            if data:
                self._last = data
            return data
        passed: list[bytes] = []
        for one in split(data):
            passed.append(self._look(one))
            self._last = passed[-1] or self._last
        return b"".join(passed)

    def end(self) -> bytes:
        rest = self._cutter.last()
        return names_given_back(self._look(rest), self._names) if rest else b""

    def begins(self, new: bytes) -> bool | Outcome:
        return self._error or self._begun

    @property
    def cut_off(self) -> bool:
        return not (self._done or self.failed)

    def broken(self, outcome: Outcome) -> bytes:
        """The events that tell the client of a stream that broke off."""
        numbers = _NUMBER.findall(self._last)
        return failed_events(self._response, outcome, int(numbers[-1]) + 1 if numbers else 0)

    def _look(self, one: bytes) -> bytes:
        if self.failed or self._error or self._done:
            return b""
        if self._begun and not any(marker in one for marker in _LOOKED_INTO):
            return one if b"[DONE]" not in one or payload(one) is not None else b""
        found = payload(one)
        if found is None:
            return self._look_at_text(one)
        try:
            return self._look_at(found, one)
        except UNEXPECTED:
            return self._fail(UNREADABLE)

    def _look_at(self, found: dict[str, Any], one: bytes) -> bytes:
        kind = found.get("type")
        if kind in _BEFORE_IT_BEGINS or kind in _ENDS:
            return self._described(str(kind), found, one)
        if kind in _FAILS:
            return self._fail(_failure(found))
        if kind is None and found.get("object") == "response":
            return self._whole(found)
        if kind is None and found.get("error"):
            return self._fail(failure.from_error_event(found))
        self._begun = True
        return one

    def _described(self, kind: str, event: dict[str, Any], one: bytes) -> bytes:
        """Handles an event with the whole response."""
        response = event.get("response")
        if not isinstance(response, dict):
            return one
        if kind in _ENDS and response.get("error"):
            return self._fail(_failure(event))
        self.usage = usage(response.get("usage"), response.get("output")) or self.usage
        if kind in _ENDS:
            self._done = self._begun = True
        else:
            self._response = response
        if response.get("model") == self._name:
            return one
        response["model"] = self._name
        return encoded_event(kind, event)

    def _whole(self, response: dict[str, Any]) -> bytes:
        """Makes a stream of a response that was not streamed."""
        refused = failed_response(response)
        if refused is not None:
            return self._fail(refused)
        self.usage = usage(response.get("usage"), response.get("output"))
        made = events_of({**response, "model": self._name})
        self._done = self._begun = True
        return made

    def _look_at_text(self, one: bytes) -> bytes:
        """Handles an event without a JSON object: a comment, a plain text error, or data that no client can parse."""
        data = data_of(one)
        if data is None:
            return one
        if data in SAY_NOTHING or (self._begun and b"event: error" not in one):
            return b""
        return self._fail(failure.from_error_event(data.decode("utf-8", "replace")))

    def _fail(self, outcome: Outcome) -> bytes:
        if not self._begun:
            self._error = outcome
            return b""
        self.failed = outcome
        return self.broken(outcome)


def _failure(event: Mapping[str, Any]) -> Outcome:
    """Reads an error: `response.failed` has it in its response, and `error` in a field or as the event itself."""
    response = event.get("response")
    if isinstance(response, dict):
        said = response.get("error") or {"message": "The provider could not complete the response."}
    else:
        said = event.get("error") or event
    if isinstance(said, dict) and said.get("type") == "error":
        said = {name: value for name, value in said.items() if name != "type"}
    return error(said)


# A stream made from a complete response.


def events_of(response: Mapping[str, Any]) -> bytes:
    """`response` is an object of the Responses API."""
    return b"".join(
        encoded_event(kind, {**fields, "sequence_number": n}) for n, (kind, fields) in enumerate(_events(response))
    )


def _events(response: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    early = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    made: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": early}),
        ("response.in_progress", {"response": early}),
    ]
    for place, item in enumerate(response["output"]):
        made += _item(place, item)
    last = "incomplete" if response.get("status") == "incomplete" else "completed"
    return [*made, (f"response.{last}", {"response": response})]


def _item(place: int, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    kind, at = item.get("type"), {"item_id": item.get("id"), "output_index": place}
    told: list[tuple[str, dict[str, Any]]] = []
    early: dict[str, Any] = {}
    if kind == "message":
        early["content"] = []
        for index, part in enumerate(item.get("content") or ()):
            told += _part({**at, "content_index": index}, part)
    elif kind == "reasoning":
        early["summary"] = []
        for index, part in enumerate(item.get("summary") or ()):
            where, text = {**at, "summary_index": index}, part.get("text") or ""
            told += [
                ("response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}),
                ("response.reasoning_summary_text.delta", {**where, "delta": text}),
                ("response.reasoning_summary_text.done", {**where, "text": text}),
                ("response.reasoning_summary_part.done", {**where, "part": part}),
            ]
    elif kind in ("function_call", "custom_tool_call"):
        field = "arguments" if kind == "function_call" else "input"
        name = "function_call_arguments" if kind == "function_call" else "custom_tool_call_input"
        said = item.get(field) or ""
        early[field] = ""
        more = {"name": item.get("name")} if kind == "function_call" else {}
        told += [(f"response.{name}.delta", {**at, "delta": said})] if said else []
        told.append((f"response.{name}.done", {**at, **more, field: said}))
    if "status" in item:
        early["status"] = "in_progress"
    return [
        ("response.output_item.added", {"output_index": place, "item": {**item, **early}}),
        *told,
        ("response.output_item.done", {"output_index": place, "item": item}),
    ]


def _part(at: dict[str, Any], part: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    kind = part.get("type")
    field = "refusal" if kind == "refusal" else "text"
    text = part.get(field) or ""
    more = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
    empty = {**part, field: "", **({"annotations": [], "logprobs": []} if kind == "output_text" else {})}
    return [
        ("response.content_part.added", {**at, "part": empty}),
        (f"response.{kind}.delta", {**at, "delta": text, **more}),
        (f"response.{kind}.done", {**at, field: text, **more}),
        ("response.content_part.done", {**at, "part": part}),
    ]
