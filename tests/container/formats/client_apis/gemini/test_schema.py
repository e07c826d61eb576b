"""Google's schemas as JSON Schema."""

import pytest

from container.formats.client_apis.gemini.request import json_schema


@pytest.mark.parametrize(
    ("googles", "wanted"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "string", "minLength": 1}, {"type": "string", "minLength": 1}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "STRING", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "2", "maxItems": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
        ),
        (
            {
                "type": "OBJECT",
                "properties": {"type": {"type": "BOOLEAN"}},
                "propertyOrdering": ["type"],
                "example": {},
            },
            {"type": "object", "properties": {"type": {"type": "boolean"}}},
        ),
        (
            {"ref": "#/$defs/A", "defs": {"A": {"type": "INTEGER"}}, "additionalProperties": False},
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}, "additionalProperties": False},
        ),
        ({"type": ["STRING", "NULL"], "items": True}, {"type": ["string", "null"], "items": True}),
        ({"type": 3, "properties": [], "anyOf": "x"}, {"type": 3, "properties": [], "anyOf": "x"}),
    ],
)
def test_schemas(googles, wanted):
    assert json_schema(googles, "tools") == wanted
