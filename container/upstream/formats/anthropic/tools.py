"""Tools in Anthropic's words, the choice among them, and names that it takes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..format import Malformed, Unsupported
from .schema import input_schema

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 128
# Of a tool in OpenAI's form, beside its function or in it, what Anthropic knows, too.
_MORE = ("cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming")
# Tools that Anthropic runs itself, by how their types begin; they come in its own form.
_HOSTED = ("web_search", "web_fetch", "code_execution", "bash", "text_editor", "memory", "tool_search_tool")
_SEARCHES = {"low": 1, "medium": 5, "high": 10}
_PLACE = ("city", "region", "country", "timezone")
# For a history with calls and a request without tools, which Anthropic refuses. LiteLLM's wording.
DUMMY = {
    "name": "dummy_tool",
    "input_schema": {"type": "object", "properties": {}},
    "type": "custom",
    "description": "This is a dummy tool call",
}


def tools(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_tool(tool) for tool in given]


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if "input_schema" in tool:
        return dict(tool)
    kind, function = tool.get("type", "function"), tool.get("function")
    if kind in ("function", "custom"):
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Malformed("tools", "A tool needs a 'function' with a 'name'.")
        made = {"name": function["name"], "input_schema": input_schema(function.get("parameters")), "type": "custom"}
        if function.get("description") is not None:
            made["description"] = function["description"]
        for name in _MORE:
            value = tool.get(name) if tool.get(name) is not None else function.get(name)
            if value is not None:
                made[name] = value
        return made
    if isinstance(kind, str) and kind.startswith(_HOSTED) and isinstance(tool.get("name"), str):
        return dict(tool)
    raise Unsupported("tools", f"Claude has no tools of the type '{kind}'.")


def web_search(options: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's `web_search_options` as Anthropic's tool."""
    made: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    location = options.get("user_location")
    if isinstance(location, dict):
        known = location.get("approximate")
        if isinstance(known, dict):
            place = {name: known[name] for name in _PLACE if name in known}
            made["user_location"] = {"type": "approximate", **place}
    size = options.get("search_context_size")
    if size in _SEARCHES:
        made["max_uses"] = _SEARCHES[size]
    return made


def choice(given: Any, parallel: bool | None) -> dict[str, Any] | None:
    """`tool_choice` and `parallel_tool_calls`; None where neither says anything."""
    made = _choice(given)
    if parallel is not None and given != "none":
        made = {**(made or {"type": "auto"}), "disable_parallel_tool_use": not parallel}
    return made


def _choice(given: Any) -> dict[str, Any] | None:
    kind = given.get("type") if isinstance(given, dict) and "function" not in given else given
    if kind in ("auto", "none"):
        return {"type": kind}
    if kind in ("required", "any"):
        return {"type": "any"}
    function = given.get("function") if isinstance(given, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return {"type": "tool", "name": function["name"]}
    if kind == "tool":
        return {"type": "tool", "name": given.get("name")}
    if given is not None:
        raise Malformed("tool_choice", "'tool_choice' has to be auto, none, required or a function's name.")
    return None


def allowed_names(names: Sequence[str]) -> dict[str, str]:
    """What tools have to be called at Anthropic, where their names do not do: each unique, what is valid as it is."""
    used = {name for name in names if _valid(name) == name}
    renamed: dict[str, str] = {}
    for name in names:
        candidate = _valid(name)
        if candidate == name or name in renamed:
            continue
        unique, number = candidate, 1
        while unique in used:
            number += 1
            suffix = f"_{number}"
            unique = candidate[: _LONGEST_NAME - len(suffix)] + suffix
        used.add(unique)
        renamed[name] = unique
    return renamed


def _valid(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]
