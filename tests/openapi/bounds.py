"""Values at the bounds of a JSON Schema, just outside of them, and of other types."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]
_OTHER_TYPES: tuple[Any, ...] = (None, True, 1.5, "x", [], [1], {})


class Body(NamedTuple):
    """An operation's JSON body. `fields`: those that no earlier operation has with the same schema."""

    path: str
    schema: Schema
    fields: Mapping[str, Schema]


class Bodies:
    """The JSON bodies of an OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def with_new_fields(self) -> dict[str, Body]:
        """By name of the operation."""
        found: dict[str, Body] = {}
        seen: set[tuple[str, str]] = set()
        for path, item in self._document["paths"].items():
            for operation in item.values():
                content = operation.get("requestBody", {}).get("content", {}) if isinstance(operation, dict) else {}
                if "application/json" not in content:
                    continue
                schema = self._resolved(content["application/json"]["schema"])
                fields = {(name, json.dumps(field)): field for name, field in schema.get("properties", {}).items()}
                if new := {name: field for (name, text), field in fields.items() if (name, text) not in seen}:
                    found[operation["operationId"]] = Body(path, schema, new)
                seen |= fields.keys()
        return found

    def fits(self, body: Mapping[str, Any], schema: Schema) -> bool:
        return Draft202012Validator({**schema, "components": self._document["components"]}).is_valid(body)

    def candidates(self, schema: Schema) -> list[Any]:
        """Different values, some of which fit the schema."""
        found = [*self._bounds(schema), *_OTHER_TYPES]
        return list({json.dumps(value): value for value in found}.values())

    def _bounds(self, schema: Schema) -> Iterator[Any]:
        schema = self._resolved(schema)
        for alternatives in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(alternatives, ()):
                yield from self._bounds(one)
        yield from schema.get("enum", ())
        for name, outside in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", -1), ("exclusiveMaximum", 1)):
            if name in schema:
                yield from (schema[name], schema[name] + outside)
        for size in _sizes(schema, "Length"):
            yield "x" * size
        plain = self._resolved(schema.get("items", {})).get("type", "string") == "string"
        for size in _sizes(schema, "Items"):
            yield [f"x{number}" if plain else {} for number in range(size)]

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            found: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema


def _sizes(schema: Schema, of: str) -> Iterator[int]:
    for name in (f"min{of}", f"max{of}"):
        if name in schema:
            yield from (size for size in (schema[name] - 1, schema[name], schema[name] + 1) if size >= 0)
