"""Translates tools, tool choice and JSON schemas to Anthropic's format.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..shared.wire import Malformed, Unsupported

Schema = dict[str, Any]

_OF_TOOLS = ("type", "properties", "additionalProperties", "required", "$defs", "strict")
_MAX_INLINED = 10_000_000
_MAX_DEPTH = 200
# Constraints that constrained decoding does not support. They are added to the description instead, in the wording of
# Anthropic's SDK.
_TOLD = {
    "minItems": "minimum number of items: {}",
    "maxItems": "maximum number of items: {}",
    "uniqueItems": "all array items must be unique",
    "contains": "array must contain an item matching: {}",
    "minContains": "minimum number of matching items: {}",
    "maxContains": "maximum number of matching items: {}",
    "prefixItems": "leading items must match, in order: {}",
    "minimum": "minimum value: {}",
    "maximum": "maximum value: {}",
    "exclusiveMinimum": "exclusive minimum value: {}",
    "exclusiveMaximum": "exclusive maximum value: {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "minimum length: {}",
    "maxLength": "maximum length: {}",
    "minProperties": "minimum number of properties: {}",
    "maxProperties": "maximum number of properties: {}",
    "patternProperties": "properties whose names match each pattern must satisfy: {}",
    "propertyNames": "property names must satisfy: {}",
    "dependentRequired": "dependent required properties: {}",
    "dependentSchemas": "dependent schemas: {}",
    "unevaluatedProperties": "unevaluated properties must satisfy: {}",
    "if": "conditional (if): {}",
    "then": "conditional (then): {}",
    "else": "conditional (else): {}",
    "not": "must not match: {}",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


def wanted(response_format: Mapping[str, Any]) -> Schema | None:
    """The schema of `response_format`, or None. Without a schema, the prompt has to request JSON."""
    if "response_schema" in response_format:
        schema = response_format["response_schema"]
    elif "json_schema" in response_format:
        described = response_format["json_schema"]
        schema = described.get("schema") if isinstance(described, dict) else None
        if schema is None:
            raise Malformed("response_format", "'response_format' needs a 'json_schema' with a 'schema'.")
    else:
        return None
    if not isinstance(schema, dict):
        raise Malformed("response_format", "The schema of 'response_format' has to be an object.")
    return schema


def input_schema(given: Any) -> Schema:
    """The schema of a tool's parameters: always an object, with only the keywords that Anthropic accepts."""
    schema = dict(given) if isinstance(given, dict) else {}
    if schema.get("type") != "object":
        schema["type"] = "object"
    schema.setdefault("properties", {})
    components = schema.get("components")
    parts = components.get("schemas") if isinstance(components, dict) else None
    definitions = {**(parts or {}), **(schema.get("definitions") or {})}
    if definitions:
        known = {k: v for k, v in schema.items() if k not in ("components", "definitions")}
        schema = _Inlining("tools").resolve(known, {**definitions, **(schema.get("$defs") or {})})
    return {name: value for name, value in schema.items() if name in _OF_TOOLS}


def answer_schema(given: Schema) -> Schema:
    """The schema for `output_config.format`.

    References are resolved, objects are closed, and unsupported constraints move to the description.
    """
    schema = dict(given)
    definitions = schema.pop("$defs", None) or schema.pop("definitions", None) or {}
    schema.pop("definitions", None)
    if definitions:
        schema = _Inlining("response_format").resolve(schema, definitions)
    return _told(schema, 0)


class _Inlining:
    """Replaces references with their targets. A recursive reference stays."""

    def __init__(self, param: str) -> None:
        self._param = param
        self._left = _MAX_INLINED

    def resolve(self, node: Any, definitions: Mapping[str, Any], chain: tuple[str, ...] = (), depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise Malformed(self._param, f"A schema in '{self._param}' is nested too deeply.")
        if isinstance(node, list):
            return [self.resolve(part, definitions, chain, depth + 1) for part in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            name = reference.rsplit("/", 1)[-1]
            target = definitions.get(name)
            if target is None or name in chain:
                return node
            self._left -= len(json.dumps(target))
            if self._left < 0:
                raise Malformed(
                    self._param, f"A schema in '{self._param}' is too large once its references are resolved."
                )
            inner = definitions
            if isinstance(target, dict):
                inner = {**definitions, **(target.get("$defs") or {}), **(target.get("definitions") or {})}
            return self.resolve(copy.copy(target), inner, (*chain, name), depth + 1)
        return {key: self.resolve(value, definitions, chain, depth + 1) for key, value in node.items()}


def _told(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return schema
    if depth > _MAX_DEPTH:
        raise Malformed("response_format", "The schema of 'response_format' is nested too deeply.")
    notes = [
        words.format(json.dumps(schema[name]) if isinstance(schema[name], (dict, list)) else schema[name])
        for name, words in _TOLD.items()
        if name in schema and schema[name] is not False
    ]
    made: Schema = {}
    if notes:
        note = f"Note: {', '.join(notes)}."
        described = schema.get("description", "")
        made["description"] = f"{described} {note}" if described else note
    for name, value in schema.items():
        if name in _TOLD or (name == "type" and _type_conflicts(schema)) or (name == "description" and notes):
            continue
        if name in ("properties", "$defs") and isinstance(value, dict):
            made[name] = {k: _told(v, depth + 1) for k, v in value.items()}
        elif name == "items" and isinstance(value, dict):
            made[name] = _told(value, depth + 1)
        elif name in ("anyOf", "oneOf") and isinstance(value, list):
            made["anyOf"] = made.get("anyOf", []) + [_told(part, depth + 1) for part in value]
        elif name == "allOf" and isinstance(value, list):
            made[name] = [_told(part, depth + 1) for part in value]
        else:
            made[name] = value
    if made.get("type") == "object":
        made["additionalProperties"] = False
    return made


def _type_conflicts(schema: Mapping[str, Any]) -> bool:
    """Whether a value in `enum` does not match `type`, which Anthropic refuses."""
    values, kind = schema.get("enum"), schema.get("type")
    if not isinstance(values, list) or kind is None:
        return False
    if isinstance(kind, list):
        return True
    types = _TYPES.get(kind) if isinstance(kind, str) else None
    if types is None:
        return False
    return not all(isinstance(v, types) and (bool in types or not isinstance(v, bool)) for v in values)


_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 128
# Fields that Anthropic accepts, inside or next to the function of an OpenAI tool.
_MORE = ("cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming")
# Type prefixes of tools that Anthropic runs itself. They are already in its format.
_HOSTED = ("web_search", "web_fetch", "code_execution", "bash", "text_editor", "memory", "tool_search_tool")
_SEARCHES = {"low": 1, "medium": 5, "high": 10}
_PLACE = ("city", "region", "country", "timezone")
# For requests without tools whose history contains calls, which Anthropic refuses. LiteLLM's wording.
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
    raise Unsupported("tools", f"Claude does not support tools of the type '{kind}'.")


def web_search(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translates OpenAI's `web_search_options` to a tool."""
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
    """Translates `tool_choice` and `parallel_tool_calls`. None if both are unset."""
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
    """New names for tools whose names Anthropic does not accept.

    All names stay unique, and valid names do not change.
    """
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
