"""Converts Google's schemas, a dialect of OpenAPI's, to JSON Schema.

Google writes types in capitals, numbers of items as strings, and `nullable` beside the type. Clients may use
snake_case.
https://ai.google.dev/api/caching#Schema
"""

from collections.abc import Mapping
from typing import Any

from ...shared.format import Malformed

MAX_DEPTH = 100

_NAMES = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "defs": "$defs",
    "ref": "$ref",
}
_NUMBERS = frozenset("maxItems maxLength maxProperties minItems minLength minProperties".split())
# Fields that JSON Schema lacks, or that only Google understands.
_GOOGLES = frozenset(("nullable", "propertyOrdering", "property_ordering", "example"))
_MAPS = ("properties", "$defs")
# `format: enum` says nothing beyond `enum`.
_ENUM = "enum"


def json_schema(schema: Mapping[str, Any], param: str) -> dict[str, Any]:
    """`param` is the field that is at fault for a schema that is nested too deeply. Raises Malformed."""
    return _node(schema, param, 0)


def _node(schema: Mapping[str, Any], param: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise Malformed(param, f"A schema in '{param}' is nested too deeply.")
    made: dict[str, Any] = {}
    for given, value in schema.items():
        name = _NAMES.get(given, given)
        if name in _GOOGLES or value is None or (name == "format" and value == _ENUM):
            continue
        if name == "type":
            if value != "TYPE_UNSPECIFIED":
                made[name] = _type(value)
        elif name in _MAPS and isinstance(value, dict):
            made[name] = {key: _any(one, param, depth) for key, one in value.items()}
        elif name == "anyOf" and isinstance(value, list):
            made[name] = [_any(one, param, depth) for one in value]
        elif name in ("items", "additionalProperties"):
            made[name] = _any(value, param, depth)
        elif name in _NUMBERS and isinstance(value, str) and value.isdecimal():
            made[name] = int(value)
        else:
            made[name] = value
    return _nullable(made) if schema.get("nullable") is True else made


def _any(value: Any, param: str, depth: int) -> Any:
    """A nested schema. Other values stay: JSON Schema has booleans as schemas, too."""
    return _node(value, param, depth + 1) if isinstance(value, dict) else value


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(one) for one in value]
    return value.lower() if isinstance(value, str) else value


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    if isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    elif isinstance(made.get("anyOf"), list):
        made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    return made
