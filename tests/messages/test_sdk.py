"""Anthropic's client against the gateway, with Claude and other models behind it."""

import itertools
from typing import Any

import anthropic
import pytest

from tests.conversation import TEXT
from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.messages.conftest import FORMATS, MODELS
from tests.processes import RunningProxy

HELLO: Any = [{"role": "user", "content": TEXT}]
CALL: Any = [{"role": "user", "content": "call it"}]
TOOL: Any = {
    "name": "weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
ALL = pytest.mark.parametrize("model", MODELS)


@ALL
def test_message(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    message = client.messages.create(model=model, max_tokens=100, system="Be brief.", messages=HELLO)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == TEXT
    assert (message.model, message.role, message.stop_reason) == (model, "assistant", "end_turn")
    assert message.usage.input_tokens == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert message.usage.output_tokens == count_tokens(TEXT)
    (seen,) = provider.requests
    assert seen.format == FORMATS[model]
    assert seen.api_key in ("sk-ant-provider", "sk-provider", "AIza-provider")


@ALL
def test_stream(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    with client.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert (message.model, message.stop_reason) == (model, "end_turn")
    assert message.usage.input_tokens == count_tokens(TEXT) + 4
    assert message.usage.output_tokens == count_tokens(TEXT)
    assert provider.last.format == FORMATS[model]


@ALL
def test_output_limit(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    message = client.messages.create(model=model, max_tokens=3, messages=HELLO)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)


@ALL
def test_tool_and_its_result(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    called = client.messages.create(model=model, max_tokens=100, messages=CALL, tools=[TOOL])
    (block,) = called.content
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("weather", {"city": "call it", "days": 1})
    assert called.stop_reason == "tool_use"
    result: Any = {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "sunny"}]}
    messages: Any = [*CALL, {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
    answered = client.messages.create(model=model, max_tokens=100, messages=messages, tools=[TOOL])
    assert "sunny" in answered.content[0].text


@ALL
def test_streamed_tool(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    with client.messages.stream(model=model, max_tokens=100, messages=CALL, tools=[TOOL]) as stream:
        message = stream.get_final_message()
    (block,) = message.content
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("weather", {"city": "call it", "days": 1})
    assert message.stop_reason == "tool_use"


@ALL
def test_forced_tool(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    message = client.messages.create(
        model=model, max_tokens=100, messages=HELLO, tools=[TOOL], tool_choice={"type": "tool", "name": "weather"}
    )
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.input == {"city": TEXT, "days": 1}


def test_claude_gets_the_original_request(client: anthropic.Anthropic, provider: FakeProvider):
    cached: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    client.messages.create(
        model="claude",
        max_tokens=100,
        system=cached,
        messages=HELLO,
        metadata={"user_id": "u"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14, files-api-2025-04-14"},
    )
    assert provider.last.body == {
        "model": "claude-sonnet-4-6",
        "max_tokens": 100,
        "system": cached,
        "messages": HELLO,
        "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    assert provider.last.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    assert provider.last.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in provider.last.headers


def test_reasoning_of_other_models_is_not_sent_to_claude(client: anthropic.Anthropic, provider: FakeProvider):
    mine = {"type": "thinking", "thinking": "so", "signature": "c2ln"}
    others = {"type": "thinking", "thinking": "so", "signature": ""}
    said = {"role": "assistant", "content": [others, mine, {"type": "text", "text": "Yes"}]}
    messages: Any = [*HELLO, said, *HELLO]
    client.messages.create(model="claude", max_tokens=100, messages=messages)
    assert provider.last.body["messages"][1]["content"] == [mine, {"type": "text", "text": "Yes"}]


def test_images_and_documents_for_another_model(client: anthropic.Anthropic, provider: FakeProvider):
    content: Any = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
        },
        {"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}},
    ]
    client.messages.create(
        model="gpt", max_tokens=20000, messages=[{"role": "user", "content": content}], stop_sequences=["x"]
    )
    assert provider.last.body == {
        "model": "gpt-4o",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
        "stop": ["x"],
        "max_tokens": 16384,
    }, "no more than the model writes"


def test_thinking_for_models_with_and_without_reasoning(client: anthropic.Anthropic, provider: FakeProvider):
    for model in ("thinker", "gpt"):
        client.messages.create(
            model=model, max_tokens=5000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 2048}
        )
    thinker, other = (seen.body for seen in provider.requests)
    assert thinker["reasoning_effort"] == "medium"
    assert "reasoning_effort" not in other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "web_search_20250305", "name": "web_search"}]),
        ("mcp_servers", [{"type": "url", "url": "https://tools.example", "name": "a"}]),
        ("top_k", 3),
    ],
)
def test_claude_only_field_is_rejected_by_name(client: anthropic.Anthropic, provider: FakeProvider, field, value):
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(model="gpt", max_tokens=9, messages=HELLO, extra_body={field: value})
    assert raised.value.body["error"]["param"] == field
    assert provider.requests == []


def test_mock(client: anthropic.Anthropic):
    message = client.messages.create(model="mock", max_tokens=100, messages=HELLO)
    assert message.content[0].text == "I am only a mock."
    with client.messages.stream(model="mock", max_tokens=100, messages=HELLO) as stream:
        final = stream.get_final_message()
    assert final.content[0].text == "I am only a mock."
    assert final.usage.output_tokens == message.usage.output_tokens > 0


def test_count_tokens_with_claude(client: anthropic.Anthropic, provider: FakeProvider):
    assert client.messages.count_tokens(model="claude", messages=HELLO).input_tokens == count_tokens(TEXT) + 4
    assert provider.last.path == "/v1/messages/count_tokens"
    assert provider.last.body == {"model": "claude-sonnet-4-6", "messages": HELLO}


# Errors


@pytest.mark.parametrize(
    ("request_", "error", "kind"),
    [
        ({"model": "claude", "max_tokens": 0}, anthropic.BadRequestError, "invalid_request_error"),
        ({"model": "claude-99"}, anthropic.NotFoundError, "not_found_error"),
        ({"model": "claude", "messages": "text"}, anthropic.BadRequestError, "invalid_request_error"),
        ({"model": "gpt", "messages": [{"role": "user", "content": [{"type": "text"}, {"type": "tool_result"}]}]},
         anthropic.BadRequestError, "invalid_request_error"),
    ],
)  # fmt: skip
def test_errors_have_anthropics_shape(client: anthropic.Anthropic, provider: FakeProvider, request_, error, kind):
    with pytest.raises(error) as raised:
        client.messages.create(**{"max_tokens": 9, "messages": HELLO, **request_})
    assert raised.value.body["type"] == "error"
    assert raised.value.body["error"]["type"] == kind
    assert provider.requests == []


def test_wrong_key(gateway: RunningProxy, provider: FakeProvider):
    client = anthropic.Anthropic(base_url=gateway.url, api_key="sk-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as raised:
        client.messages.create(model="claude", max_tokens=9, messages=HELLO)
    assert raised.value.body["error"]["type"] == "authentication_error"
    assert provider.requests == []


@ALL
@pytest.mark.parametrize(
    ("status", "error"),
    [(400, anthropic.BadRequestError), (429, anthropic.RateLimitError), (529, anthropic.InternalServerError)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_provider_errors(client: anthropic.Anthropic, provider: FakeProvider, model, status, error, stream):
    provider.always(failing(status, message="as ordered"))
    with pytest.raises(error, match="as ordered") as raised:
        client.messages.create(model=model, max_tokens=9, messages=HELLO, stream=stream)
    assert raised.value.status_code == status
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [*itertools.product([failing(529), failing(429)], [False, True]), (Behaviour(Fault.ERROR_FIRST_EVENT), True)],
)
def test_fallback(client: anthropic.Anthropic, provider: FakeProvider, behaviour: Behaviour, stream):
    provider.always(behaviour, model="frail")
    if stream:
        with client.messages.stream(model="frail", max_tokens=100, messages=HELLO) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(model="frail", max_tokens=100, messages=HELLO)
    assert message.content[0].text == TEXT
    assert message.model == "gpt"
    assert [seen.format for seen in provider.requests] == ["anthropic", "openai"]


@ALL
@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM, Fault.HALF_CHUNK])
def test_truncated_stream_ends_with_an_error(client: anthropic.Anthropic, provider: FakeProvider, model, fault):
    provider.always(Behaviour(fault, after=3, pace=0.05))
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream,
    ):
        stream.get_final_message()


def test_engine_was_never_started(gateway: RunningProxy):
    assert '"engine_starting"' not in gateway.log()
