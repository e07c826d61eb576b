"""Checks streams and responses of the Responses API against OpenAI's published types and the order of its events."""

from collections import defaultdict
from typing import Annotated, Any

import orjson
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import Discriminator, TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(Annotated[ResponseStreamEvent, Discriminator("type")])
_RESPONSE: TypeAdapter[Any] = TypeAdapter(Response)
_ENDS = ("response.completed", "response.incomplete", "response.failed")
# Deltas, and the event and the field that has all of their text.
_DELTAS: dict[str, tuple[str, str, str]] = {
    "response.output_text.delta": ("response.output_text.done", "text", "content_index"),
    "response.refusal.delta": ("response.refusal.done", "refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text", "summary_index"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments", ""),
    "response.custom_tool_call_input.delta": ("response.custom_tool_call_input.done", "input", ""),
}
_PARTS = {"response.content_part": "content_index", "response.reasoning_summary_part": "summary_index"}


def events(data: bytes) -> list[dict[str, Any]]:
    """The objects of a stream, without comments. Every event has to be named after its type."""
    found: list[dict[str, Any]] = []
    for event in data.split(b"\n\n"):
        lines = [line for line in event.split(b"\n") if line and not line.startswith(b":")]
        if not lines:
            continue
        named, told = lines
        made = orjson.loads(told.removeprefix(b"data: "))
        assert named == b"event: " + made["type"].encode()
        found.append(made)
    return found


def response(body: dict[str, Any]) -> dict[str, Any]:
    """Checks a complete response."""
    _RESPONSE.validate_python(body)
    ids = [item["id"] for item in body["output"]]
    assert len(set(ids)) == len(ids)
    return body


def ended(data: bytes) -> dict[str, Any]:
    """Checks a stream, and returns the response that it ends with."""
    told = events(data)
    for number, event in enumerate(told):
        _EVENT.validate_python(event)
        assert event["sequence_number"] == number
    kinds = [event["type"] for event in told]
    assert kinds[0] == "response.created"
    if kinds[-1] == "error":
        assert kinds.pop() == "error"
        assert told.pop()["message"]
        assert kinds[-1] == "response.failed"
    assert kinds[-1] in _ENDS
    assert not set(_ENDS) & set(kinds[:-1])
    last = told[-1]["response"]
    assert last["id"] == told[0]["response"]["id"]
    failed = kinds[-1] == "response.failed"
    items = _items(told, complete=not failed)
    if failed:
        assert all(item in items for item in response(last)["output"])
    else:
        assert response(last)["output"] == items
        assert last["usage"] is not None
    return last


def _items(told: list[dict[str, Any]], *, complete: bool) -> list[dict[str, Any]]:
    """The finished items, in order. Deltas have to add up, and nothing may be said of an item that is not open."""
    opened: dict[int, str] = {}
    done: dict[int, dict[str, Any]] = {}
    deltas: defaultdict[Any, str] = defaultdict(str)
    parts: set[Any] = set()
    for event in told:
        kind: str = event["type"]
        place: Any = event.get("output_index")
        if kind == "response.output_item.added":
            assert place not in opened
            opened[place] = event["item"]["id"]
        elif kind == "response.output_item.done":
            assert opened[place] == event["item"]["id"]
            assert not {at for at in parts if at[0] == place}
            done[place] = event["item"]
        elif place is not None:
            assert opened[place] == event["item_id"]
            assert place not in done
        for name, field in _PARTS.items():
            if kind == f"{name}.added":
                parts.add((place, event[field]))
            elif kind == f"{name}.done":
                parts.remove((place, event[field]))
        if kind in _DELTAS:
            name, _, index = _DELTAS[kind]
            assert not index or (place, event[index]) in parts
            deltas[name, place, event.get(index)] += event["delta"]
        for name, field, index in _DELTAS.values():
            if kind == name:
                assert deltas.pop((name, place, event.get(index)), "") == event[field]
    if complete:
        assert sorted(done) == sorted(opened) == list(range(len(done)))
        assert not parts
        assert not deltas
    return [done[place] for place in sorted(done)]
