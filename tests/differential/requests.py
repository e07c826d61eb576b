"""Generated chat requests: every OpenAI shape that other providers' APIs can express."""

import base64
from typing import Any

from hypothesis import strategies as st

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
_BLOB = base64.b64encode(b"\x89PNG\r\n\x1a\nnot really").decode()


def data_url(kind: str) -> str:
    return f"data:{kind};base64,{_BLOB}"


def optional(required: dict[str, st.SearchStrategy[Any]], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=more)


# User content

IMAGES = st.sampled_from(("image/png", "image/jpeg", "image/webp")).flatmap(
    lambda kind: optional(
        {"url": st.just(data_url(kind))}, detail=st.sampled_from(("auto", "low", "high")), format=st.just(kind)
    )
)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, WORDS),
    st.builds(lambda image: {"type": "image_url", "image_url": image}, IMAGES),
    st.just({"type": "image_url", "image_url": data_url("image/png")}),
    st.just({"type": "file", "file": {"file_data": data_url("application/pdf"), "filename": "a.pdf"}}),
    st.just({"type": "input_audio", "input_audio": {"data": _BLOB, "format": "wav"}}),
)
USER = st.builds(
    lambda content: {"role": "user", "content": content}, st.one_of(WORDS, st.lists(PARTS, min_size=1, max_size=4))
)
SYSTEM = st.builds(
    lambda content: {"role": "system", "content": content},
    st.one_of(WORDS, st.lists(st.builds(lambda t: {"type": "text", "text": t}, WORDS), min_size=1, max_size=2)),
)

# Assistant content

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)


@st.composite
def tool_round(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant message that calls tools, and the result for each ID."""
    calls, results = [], []
    for number in range(draw(st.integers(1, 3))):
        id = f"call_{draw(st.integers(0, 10**9))}_{number}"
        arguments = draw(OBJECTS) | {"n": number}
        name = draw(NAMES)
        function = {"name": name, "arguments": _dumps(arguments)}
        call: dict[str, Any] = {"id": id, "type": "function", "function": function}
        if draw(st.booleans()):
            call["provider_specific_fields"] = {"thought_signature": f"c2ln{number}"}
        calls.append(call)
        content = draw(st.one_of(WORDS, st.builds(_dumps, OBJECTS), st.builds(_dumps, st.lists(JSON, max_size=2))))
        results.append({"role": "tool", "tool_call_id": id, "content": content})
    said: dict[str, Any] = {"role": "assistant", "content": draw(st.one_of(st.none(), WORDS)), "tool_calls": calls}
    return [said, *results]


def numbered(messages: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Makes IDs unique across rounds. Anthropic rejects repeated IDs; LiteLLM sends them anyway."""
    made = []
    for message in messages:
        if "tool_calls" in message:
            message = {**message, "tool_calls": [{**c, "id": f"{c['id']}_{number}"} for c in message["tool_calls"]]}
        elif "tool_call_id" in message:
            message = {**message, "tool_call_id": f"{message['tool_call_id']}_{number}"}
        made.append(message)
    return made


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


ASSISTANT = st.builds(
    lambda content, more: {"role": "assistant", "content": content, **more},
    st.one_of(WORDS, st.lists(st.builds(lambda t: {"type": "text", "text": t}, WORDS), min_size=1, max_size=2)),
    st.one_of(st.just({}), st.builds(lambda t: {"reasoning_content": t}, WORDS)),
)
HISTORIES = st.lists(
    st.one_of(USER.map(lambda m: [m]), ASSISTANT.map(lambda m: [m]), tool_round()), min_size=0, max_size=4
).map(lambda rounds: [message for number, messages in enumerate(rounds) for message in numbered(messages, number)])
MESSAGES = st.builds(
    lambda system, history, last: [*system, *history, last], st.lists(SYSTEM, max_size=2), HISTORIES, USER
)

# Schemas

SCALARS = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda d: {"type": "string", "description": d}, WORDS),
    st.builds(lambda v: {"type": "string", "enum": v}, st.lists(NAMES, min_size=1, max_size=3, unique=True)),
    st.just({"type": "string", "format": "date-time"}),
    st.just({"type": "string", "format": "uuid", "minLength": 2, "pattern": "^a"}),
    st.just({"type": "integer", "minimum": 1, "maximum": 9, "exclusiveMaximum": 10}),
    st.just({"type": "integer", "enum": [1, 2, 3]}),
    st.just({"type": "number", "default": 1.5, "multipleOf": 0.5}),
    st.just({"type": "boolean", "title": "Flag"}),
    st.just({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
    st.just({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "either"}),
    st.just({"$ref": "#/$defs/item"}),
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "minItems": 1}, inner),
        st.just({"type": "array"}),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:1],
                "additionalProperties": False,
            },
            st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        ),
        st.just({"type": "object", "properties": {}}),
    ),
    max_leaves=6,
)
OBJECT_SCHEMAS = st.builds(
    lambda properties: {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": {"item": {"type": "object", "properties": {"next": {"type": "string"}}, "title": "Item"}},
    },
    st.dictionaries(NAMES, SCHEMAS, min_size=1, max_size=3),
)
TOOLS = st.lists(
    st.builds(
        lambda name, more: {"type": "function", "function": {"name": name, **more}},
        NAMES,
        optional({}, description=WORDS, parameters=OBJECT_SCHEMAS, strict=st.booleans()),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda tool: tool["function"]["name"],
)


@st.composite
def with_tools(draw: st.DrawFn) -> dict[str, Any]:
    tools = draw(TOOLS)
    named = {"type": "function", "function": {"name": tools[0]["function"]["name"]}}
    choice = draw(st.sampled_from((None, "auto", "none", "required", named)))
    return {"tools": tools, **({"tool_choice": choice} if choice is not None else {})}


FORMATS = st.one_of(
    st.just({"type": "text"}),
    st.just({"type": "json_object"}),
    st.builds(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        OBJECT_SCHEMAS,
    ),
)
EFFORTS = st.sampled_from(("none", "minimal", "low", "medium", "high"))
# LiteLLM forwards numbers after parsing, so these have exact binary values.
FRACTIONS = st.integers(0, 8).map(lambda n: n / 8)
