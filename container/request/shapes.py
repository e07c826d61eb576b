"""The shapes of fields that the engine reads. LiteLLM stumbles over others, and answers as if the deployment were
at fault."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.api.errors import invalid_request


def check(endpoint: str, fields: Mapping[str, Any]) -> None:
    """`endpoint`: its name in worker/api/endpoints.py. Raises ApiError 400 naming the field."""
    for name, (fits, wanted) in _SHAPES.get(endpoint, {}).items():
        if fields.get(name) is not None and not fits(fields[name]):
            raise invalid_request(f"'{name}' has to be {wanted}.", param=name)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_said(value: Any) -> bool:
    return isinstance(value, str) or _are_objects(value)


def _are_tools(value: Any) -> bool:
    return _are_objects(value) and all(isinstance(one.get("type"), str) for one in value)


_TEXT, _OBJECT = (_is_text, "a text"), (_is_object, "an object")
_SHAPES: Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "responses": {
        "input": (_is_said, "a text or an array of items"),
        "tools": (_are_tools, "an array of tools, each with a 'type'"),
        "text": _OBJECT,
        "reasoning": _OBJECT,
        "instructions": (_is_said, "a text"),
        "include": (_is_list, "an array of texts"),
    },
    "image_generation": {"prompt": _TEXT},
    "speech": {"input": _TEXT},
    "moderations": {"input": (lambda value: isinstance(value, str | list), "a text or an array")},
    "rerank": {"query": _TEXT, "documents": (_is_list, "an array")},
}
