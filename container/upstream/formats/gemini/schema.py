"""JSON Schema, as tools declare their parameters in, as the part of OpenAPI's schema that Gemini knows.

References are resolved, alternatives with `null` become `nullable`, and what Gemini would refuse is left out.
Source: https://ai.google.dev/api/caching#Schema
"""

from collections.abc import Mapping
from typing import Any

from ..format import Unsupported

# What Gemini's schema has; `type`, `enum`, `format`, `items`, `properties`, `required` and `anyOf` are treated below.
_KEPT = frozenset(
    "title description nullable default minItems maxItems minProperties maxProperties minimum maximum minLength "
    "maxLength pattern example propertyOrdering".split()
)
# In a `type` that is a list these belong to the objects and arrays among its alternatives.
_OF_CONTAINERS = ("properties", "required", "items", "minItems", "maxItems", "minProperties", "maxProperties")
_FORMATS = frozenset(("enum", "date-time"))
# A handful of references to each other can stand for millions of nodes.
MAX_NODES = 20_000
MAX_DEPTH = 100

Schema = Mapping[str, Any]


def clean(schema: Schema) -> dict[str, Any]:
    """A new schema for Gemini. Raises Unsupported for one that is too deep or too large once it is written out."""
    return _Cleaner().node(schema, {}, (), 0)


class _Cleaner:
    def __init__(self) -> None:
        self._nodes = 0

    def node(self, schema: Any, names: Schema, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        """`names`: the definitions in force; `within`: the references that led here, for those that lead back."""
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise Unsupported(
                "tools", "A tool's schema is nested too deeply or too large once its references are resolved."
            )
        if not isinstance(schema, dict):
            return {"type": "object"}  # `true`, which allows anything
        names = {**names, **_object(schema, "definitions"), **_object(schema, "$defs")} if _defines(schema) else names
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.rsplit("/", 1)[-1]
            if name in within or name not in names:
                return {"type": "object"}
            return self.node(names[name], names, (*within, name), depth + 1)
        alternatives = _alternatives(schema)
        if alternatives is not None:
            return self._any_of(schema, alternatives, names, within, depth)
        return self._plain(schema, names, within, depth)

    def _any_of(
        self, schema: Schema, alternatives: list[Any], names: Schema, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        """Beside `anyOf` Gemini takes nothing else, so title and description go into each alternative."""
        real = [a for a in alternatives if not (isinstance(a, dict) and a.get("type") == "null")]
        cleaned = [self.node(a, names, within, depth + 1) for a in real] or [{"type": "string"}]
        for part in cleaned:
            if len(real) < len(alternatives):
                part["nullable"] = True
            part.update({name: schema[name] for name in ("title", "description") if schema.get(name)})
        return {"anyOf": cleaned}

    def _plain(self, schema: Schema, names: Schema, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        result = {name: value for name, value in schema.items() if name in _KEPT}
        if schema.get("format") in _FORMATS:
            result["format"] = schema["format"]
        kind = schema.get("type")
        properties = schema.get("properties")
        values = [v for v in _allowed(schema) if isinstance(v, str) and v]
        if isinstance(properties, dict) and properties:
            kind = "object"
            result["properties"] = {n: self.node(p, names, within, depth + 1) for n, p in properties.items()}
        if isinstance(schema.get("required"), list) and properties:
            result["required"] = schema["required"]
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if not isinstance(kind, str):
            kind = "string" if values else "object"
        if kind.lower() == "string" and values:
            result["enum"] = values
        items = schema.get("items")
        if items or kind.lower() == "array":
            result["items"] = self.node(items or {}, names, within, depth + 1)
        return {"type": kind, **result}


def _defines(schema: Schema) -> bool:
    return "$defs" in schema or "definitions" in schema


def _object(schema: Schema, name: str) -> Schema:
    value = schema.get(name)
    return value if isinstance(value, dict) else {}


def _alternatives(schema: Schema) -> list[Any] | None:
    """What `anyOf`, `oneOf` or a `type` with several names allow, None where there is no choice."""
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return schema[name]
    of_all = schema.get("allOf")
    if isinstance(of_all, list) and len(of_all) == 1:
        return of_all  # how a reference with a description of its own is written
    kinds = schema.get("type")
    if not isinstance(kinds, list) or len(kinds) < 2:
        return None
    shared = {name: schema[name] for name in _OF_CONTAINERS if name in schema}
    values = {"enum": schema["enum"]} if "enum" in schema else {}
    return [{"type": k, **(shared if k in ("object", "array") else values if k == "string" else {})} for k in kinds]


def _allowed(schema: Schema) -> list[Any]:
    """The values of `enum` or `const`; Gemini takes texts that are not empty."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else []
