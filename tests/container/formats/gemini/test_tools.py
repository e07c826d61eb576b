"""Tool schemas in Gemini's format. tests/differential/test_gemini.py compares them with LiteLLM's."""

import pytest

from container.formats.gemini.tools import clean
from container.formats.shared.wire import Unsupported

STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {}}, {"type": "object"}),
        ({}, {"type": "object"}),
        ({"type": "array"}, {"type": "array", "items": {"type": "object"}}),
        ({"type": "array", "items": {}}, {"type": "array", "items": {"type": "object"}}),
        ({"type": "string", "format": "uuid"}, STRING),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer"}),
        ({**STRING, "$schema": "x", "additionalProperties": False, "not": {}}, STRING),
        (
            {"anyOf": [STRING, {"type": "null"}], "description": "d", "default": 1},
            {"anyOf": [{"type": "string", "nullable": True, "description": "d"}]},
        ),
    ],
)
def test_unknown_keywords_are_removed(schema, expected):
    assert clean(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected", "litellms"),
    [
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string", "nullable": True}]}, "keeps the type `null`"),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}, "makes it an object without values"),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}, "makes it an object"),
        ({"type": "string", "enum": ["a", ""]}, {"type": "string", "enum": ["a"]}, "puts null for the empty text"),
        ({"oneOf": [STRING, {"type": "integer"}]}, {"anyOf": [STRING, {"type": "integer"}]}, "leaves nothing of it"),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "description": "d", "$defs": {"a": STRING}},
            {"anyOf": [{"type": "string", "description": "d"}]},
            "leaves nothing of it",
        ),
        ({"anyOf": [{"type": "null"}]}, {"anyOf": [{"type": "string", "nullable": True}]}, "refuses it"),
    ],
)
def test_schema_keeps_more_than_litellms(schema, expected, litellms):
    """Accepted differences. `litellms` is LiteLLM's result."""
    assert clean(schema) == expected, litellms


OBJECT = {"type": "object", "properties": {"id": STRING, "name": STRING}}


@pytest.mark.parametrize(
    ("beside", "required"),
    [
        ({"anyOf": [{"required": ["id"]}]}, ["id"]),
        ({"oneOf": [{"required": ["id"]}]}, ["id"]),
        ({"allOf": [{"required": ["id"]}, {"required": ["name"]}]}, ["id", "name"]),
        ({"anyOf": [{"required": ["id"]}, {"required": ["name"]}]}, []),
        ({"anyOf": [{"required": ["id", "name"]}, {"required": ["name"]}]}, ["name"]),
        ({"required": ["id"], "anyOf": [{"required": ["name"]}, {"required": ["id"]}]}, ["id"]),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"required": ["id"]}}}, ["id"]),
        ({"anyOf": [{"not": {"required": ["id"]}}, {"required": ["name"]}]}, []),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_properties_beside_alternatives_are_kept(beside, required, nested):
    schema = {**OBJECT, **beside}
    defs = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    whole = {"type": "object", "properties": {"x": schema}, **defs} if nested else {**schema, **defs}
    found = clean(whole)["properties"]["x"] if nested else clean(whole)
    assert found["type"] == "object"
    assert found["properties"] == OBJECT["properties"]
    assert found["required"] == required
    assert "anyOf" not in found


def test_alternatives_include_the_shared_properties():
    other = {"properties": {"age": {"type": "integer"}}, "required": ["age"]}
    for keyword in ("anyOf", "oneOf", "allOf"):
        found = clean({**OBJECT, keyword: [other, {"properties": {"sex": STRING}, "required": ["sex"]}]})
        assert set(found["properties"]) == {"id", "name", "age", "sex"}
        assert found["required"] == (["age", "sex"] if keyword == "allOf" else [])


def test_top_level_union_becomes_one_object():
    one = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
    two = {"type": "object", "properties": {"b": STRING}, "required": ["b"]}
    found = clean({"oneOf": [one, {"$ref": "#/$defs/two"}], "$defs": {"two": two}})
    assert (found["type"], set(found["properties"]), found["required"]) == ("object", {"a", "b"}, [])
    nullable = clean({"type": ["object", "null"], "properties": {"a": STRING}, "required": ["a"]})
    assert (nullable["type"], nullable["properties"], nullable["required"]) == ("object", {"a": STRING}, ["a"])


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 5}, {"type": "integer"}),
        ({"enum": [1.5, 2]}, {"type": "number"}),
        ({"const": True}, {"type": "boolean"}),
        ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
        ({"items": STRING}, {"type": "array", "items": STRING}),
        ({"type": "array", "items": [STRING]}, {"type": "array", "items": STRING}),
        ({"type": "array", "prefixItems": [STRING, {"type": "integer"}]},
         {"type": "array", "items": {"anyOf": [STRING, {"type": "integer"}]}}),
        ({"type": "string", "anyOf": [{"enum": ["a"]}, {"pattern": "b"}]},
         {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "pattern": "b"}]}),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, {"type": "string", "minLength": 2}),
        ({"$ref": "#/$defs/a", "description": "d", "$defs": {"a": STRING}}, {"type": "string", "description": "d"}),
    ],
)  # fmt: skip
def test_value_keeps_its_type(schema, expected):
    defs = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    assert clean({"type": "object", "properties": {"x": schema}, **defs})["properties"]["x"] == expected


def test_reference_may_point_anywhere():
    schema = {"type": "object", "properties": {"a": STRING, "b": {"$ref": "#/properties/a"}}}
    assert clean(schema)["properties"]["b"] == STRING


def test_required_names_must_be_properties():
    assert clean({"type": "object", "properties": {"a": STRING}, "required": ["a", "b"]})["required"] == ["a"]


def test_nested_references_are_resolved():
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"type": "array", "items": {"$ref": "#/definitions/b"}}},
        "$defs": {"a": {"$ref": "#/$defs/c"}, "c": STRING},
        "definitions": {"b": {"type": "integer"}},
    }
    assert clean(schema)["properties"] == {"a": STRING, "b": {"type": "array", "items": {"type": "integer"}}}


def test_property_may_be_named_like_a_keyword():
    properties = dict.fromkeys(("$ref", "type", "properties", "strict", "additionalProperties", "anyOf"), STRING)
    assert clean({"type": "object", "properties": properties})["properties"] == properties


def test_recursive_schema_ends_at_the_recursion():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    found = clean({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert found == {"type": "object", "properties": {"next": {"type": "object"}}}


def test_given_schema_is_not_modified():
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "t"}
    before = repr(schema)
    clean(schema)
    assert repr(schema) == before


def test_references_cannot_expand_exponentially():
    defs = {f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcdefgh"}}
            for n in range(12)}  # fmt: skip
    with pytest.raises(Unsupported) as raised:
        clean({"$ref": "#/$defs/d0", "$defs": defs})
    assert raised.value.param == "tools"


def test_very_deep_schema():
    schema: dict = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(Unsupported):
        clean(schema)
