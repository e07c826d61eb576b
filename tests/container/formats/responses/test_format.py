"""Requests in the Responses format, and retries after the provider rejects a field."""

from typing import Any

import orjson
import pytest

from container.formats.responses import Responses
from container.formats.shared.wire import Unsupported
from container.request.completion import parse
from container.routing.health import Outcome

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50, "service_tier": "flex"}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.fixture
def asked(deployment):
    """`asked(refusal, drop_params=True, **fields)`: the request body, and the body of the retry after the refusal."""

    def ask(
        refusal: Outcome | None = None, *, model: str = "gpt-5-pro", drop_params: bool = True, **fields: Any
    ) -> tuple[Any, Any]:
        format, d = Responses(drop_params=drop_params), deployment(model=f"openai/{model}", api_key="k")
        request = parse("chat_completions", orjson.dumps({**CHAT, **fields}))
        sent = format.request(d, d.model, request)
        again = None if refusal is None else format.again(d, d.model, request, sent, refusal)
        return orjson.loads(sent.body), None if again is None else orjson.loads(again.body)

    return ask


def refusal(param: str, message: str = "Unsupported parameter", code: str = "unsupported_parameter") -> Outcome:
    return Outcome("unsupported", 400, message, code=code, param=param)


@pytest.mark.parametrize("param", ["max_output_tokens", "input", "store", "model", "input[0].content"])
def test_essential_fields_are_never_dropped(asked, param):
    assert asked(refusal(param))[1] is None


def test_rejected_field_is_dropped_with_drop_params(asked):
    first, second = asked(refusal("service_tier"))
    assert {**second, "service_tier": "flex"} == first
    assert asked(refusal("service_tier"), drop_params=False)[1] is None


def test_sampling_is_dropped_for_a_reasoning_model(asked):
    assert "temperature" not in asked(temperature=0.5)[0]
    with pytest.raises(Unsupported) as caught:
        asked(temperature=0.5, drop_params=False)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize("effort", ["minimal", {"effort": "minimal", "summary": "auto"}])
def test_effort_becomes_the_nearest_supported_one(asked, effort):
    made = asked(model="o3-pro", reasoning_effort=effort)[0]["reasoning"]
    assert made.pop("effort") == "low"
    assert made == ({"summary": "auto"} if isinstance(effort, dict) else {})


def test_rejected_inner_field_is_dropped_with_its_parent(asked):
    assert "text" not in asked(refusal("text.verbosity"), verbosity="low")[1]


def test_reasoning_of_another_account_is_dropped(asked):
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    said = {"role": "assistant", "content": "Hi", "reasoning_items": [kept]}
    messages = [*CHAT["messages"], said, *CHAT["messages"]]
    message = "The encrypted content gAAA... could not be verified."
    first, second = asked(refusal("input", message, "invalid_encrypted_content"), messages=messages)
    assert [item["type"] for item in first["input"]] == ["message", "reasoning", "message", "message"]
    assert [item["type"] for item in second["input"]] == ["message", "message", "message"]


def test_smaller_of_two_limits_applies(asked):
    assert asked(max_tokens=90, max_completion_tokens=70)[0]["max_output_tokens"] == 70


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "f"}}, {"type": "custom", "name": "f"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
    ids=str,
)
def test_tool_choice_is_flat(asked, given, made):
    assert asked(tools=[TOOL], tool_choice=given)[0]["tool_choice"] == made


def test_tools(asked):
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}
    custom = {"type": "custom", "custom": {"name": "g", "description": "d", "format": grammar}}
    strict = {"type": "function", "function": {"name": "h", "strict": True, "parameters": {"type": "object"}}}
    assert asked(tools=[TOOL, custom, strict])[0]["tools"] == [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {
            "type": "custom",
            "name": "g",
            "description": "d",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        },
        {"type": "function", "name": "h", "parameters": {"type": "object"}, "strict": True},
    ]


@pytest.mark.parametrize("kind", ["web_search", "mcp", "code_interpreter"])
def test_provider_run_tool_is_rejected_because_its_price_is_not_reserved(asked, kind):
    with pytest.raises(Unsupported) as caught:
        asked(tools=[{"type": kind}], drop_params=False)
    assert caught.value.param == "tools"
    assert "tools" not in asked(tools=[{"type": kind}])[0]


@pytest.mark.parametrize(
    ("messages", "instructions", "items"),
    [
        ([{"role": "system", "content": "A"}, {"role": "system", "content": "B"}], None, ["system", "system"]),
        (
            [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}, *CHAT["messages"]],
            "A\n\nB",
            ["user"],
        ),
        ([*CHAT["messages"], {"role": "system", "content": "A"}], None, ["user", "system"]),
        ([{"role": "developer", "content": "A"}, *CHAT["messages"]], None, ["developer", "user"]),
    ],
)
def test_instructions(asked, messages, instructions, items):
    sent = asked(messages=messages)[0]
    assert (sent.get("instructions"), [item["role"] for item in sent["input"]]) == (instructions, items)


def test_parts(asked):
    url = "data:image/png;base64,aGk="
    content = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": url},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": url}},
    ]
    assert asked(messages=[{"role": "user", "content": content}])[0]["input"][0]["content"] == [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": url, "detail": "low"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
        {"type": "input_file", "file_data": url, "filename": "a.pdf"},
    ]


@pytest.mark.parametrize("part", [{"type": "video_url", "video_url": {}}, {"type": "image_url"}, {"type": "file"}])
def test_unconvertible_part_is_rejected(asked, part):
    with pytest.raises(Unsupported) as caught:
        asked(messages=[{"role": "user", "content": [part]}])
    assert caught.value.param == "messages"
