"""Makes the events of a stream from a complete response, for models that are not streamed."""

from collections.abc import Mapping
from typing import Any

from .failed import event


def events_of(response: Mapping[str, Any]) -> bytes:
    """`response` is an object of the Responses API."""
    return b"".join(event(kind, {**fields, "sequence_number": n}) for n, (kind, fields) in enumerate(_events(response)))


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
