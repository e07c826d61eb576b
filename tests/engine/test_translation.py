"""OpenAI's client against Claude and Gemini through the engine, plain and streamed."""

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.conversation import ARGUMENTS, HELLO, TEXT, TOOL, streamed_call, use_tool
from tests.fakes.answers import count_tokens
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy

BOTH = pytest.mark.parametrize(
    ("model", "wire_format", "key"),
    [("claude", "anthropic", "sk-ant-provider"), ("gemini", "gemini", "AIza-provider")],
    ids=["claude", "gemini"],
)


@pytest.fixture
def client(engine_proxy: RunningProxy) -> OpenAI:
    return engine_proxy.client()


@BOTH
@pytest.mark.parametrize("path", ["/v1", ""])
def test_plain(engine_proxy: RunningProxy, provider: FakeProvider, model, wire_format, key, path):
    completion = engine_proxy.client(path=path).chat.completions.create(model=model, messages=HELLO, max_tokens=100)
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == model
    assert completion.usage
    assert completion.usage.prompt_tokens == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert completion.usage.completion_tokens == count_tokens(TEXT)
    (seen,) = provider.requests
    assert (seen.format, seen.api_key) == (wire_format, key)


@BOTH
def test_system_prompt_and_limit_in_the_providers_format(
    client: OpenAI, provider: FakeProvider, model, wire_format, key
):
    completion = client.chat.completions.create(model=model, messages=HELLO, max_tokens=3)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 3
    body = provider.last.body
    if wire_format == "anthropic":
        assert body["max_tokens"] == 3
        assert body["system"] == [{"type": "text", "text": "Be brief."}]
    else:
        assert body["generationConfig"]["max_output_tokens"] == 3
        assert body["system_instruction"]["parts"] == [{"text": "Be brief."}]


@BOTH
def test_stream(client: OpenAI, provider: FakeProvider, model, wire_format, key):
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert {c.model for c in chunks} == {model}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(c.usage is None for c in chunks), "the client has not asked for usage"
    assert provider.last.format == wire_format


@BOTH
def test_stream_with_usage(client: OpenAI, provider: FakeProvider, model, wire_format, key):
    stream = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert chunks[-1].usage.completion_tokens == count_tokens(TEXT)


@BOTH
def test_tool_and_its_result(client: OpenAI, provider: FakeProvider, model, wire_format, key):
    call, answer = use_tool(client, model)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    assert "sunny" in answer


@BOTH
def test_streamed_tool(client: OpenAI, provider: FakeProvider, model, wire_format, key):
    call = streamed_call(client, model)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


@BOTH
def test_forced_tool(client: OpenAI, provider: FakeProvider, model, wire_format, key):
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    completion = client.chat.completions.create(model=model, messages=HELLO, tools=[TOOL], tool_choice=choice)
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["city"] == TEXT


def test_wildcard(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="anthropic/claude-haiku-4-5", messages=HELLO)
    assert completion.choices[0].message.content == TEXT
    assert completion.model == "anthropic/claude-haiku-4-5"
    assert provider.last.model == "claude-haiku-4-5"


def test_completions_with_claude(client: OpenAI, provider: FakeProvider):
    completion = client.completions.create(model="claude", prompt="Once upon a time")
    assert completion.choices[0].text == "Once upon a time"
    assert completion.model == "claude"
    chunks = list(client.completions.create(model="claude", prompt="Once upon a time", stream=True))
    assert "".join(c.choices[0].text or "" for c in chunks if c.choices) == "Once upon a time"


def test_models_are_listed_under_their_public_names(client: OpenAI):
    listed = [model.id for model in client.models.list()]
    assert listed[:4] == ["claude", "gemini", "claude-hasty", "frail"]
    assert "gpt" in listed
    assert "anthropic/claude-haiku-4-5" in listed, "what the wildcard reaches"
    assert "anthropic/*" not in listed


def test_response_headers(client: OpenAI, provider: FakeProvider):
    raw = client.chat.completions.with_raw_response.create(model="claude", messages=HELLO)
    assert raw.headers["x-litellm-model-group"] == "claude"
    assert raw.headers["x-litellm-attempted-retries"] == "0"
    names = set(raw.headers)
    assert not any(name.startswith("llm_provider-") for name in names)
    assert "x-litellm-model-api-base" not in names
