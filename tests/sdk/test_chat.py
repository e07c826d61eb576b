"""Chat completions with OpenAI's client: plain, streamed, with tools, and every kind of model name."""

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.conversation import HELLO, TEXT, streamed_call, use_tool
from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY
from tests.sdk.conftest import Gateway

QUOTING: Any = [{"role": "user", "content": 'call "it"\n'}]


@pytest.mark.parametrize("path", ["/v1", ""])
def test_plain(gateway: Gateway, provider: FakeProvider, path):
    completion = gateway.client(path=path).chat.completions.create(model="gpt", messages=HELLO)
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "gpt"
    assert completion.usage
    assert completion.usage.completion_tokens == count_tokens(TEXT)
    assert provider.last.path == "/v1/chat/completions"
    assert provider.last.body == {"model": "gpt-4o", "messages": HELLO}


def test_clients_credentials_are_not_forwarded(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="gpt", messages=HELLO, extra_headers={"cookie": "a=b", "x-api-key": "k"})
    headers = provider.last.headers
    assert headers["authorization"] == "Bearer sk-provider"
    assert {"cookie", "x-api-key", "x-internal-token"}.isdisjoint(name.lower() for name in headers)
    assert MASTER_KEY not in str(dict(headers))


def test_unknown_fields_are_sent_to_a_server_that_may_know_them(client: OpenAI, provider: FakeProvider):
    extra = {"x_object": {"order": ["a"]}, "x_number": 12345678901234567890, "x_float": 1.10}
    client.chat.completions.create(model="vendor/house-model", messages=HELLO, temperature=0.3, extra_body=extra)
    assert {k: provider.last.body[k] for k in extra} == extra
    assert provider.last.body["temperature"] == 0.3


def test_unknown_fields_are_not_sent_to_openai(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="gpt", messages=HELLO, extra_body={"x_object": {"order": ["a"]}})
    assert "x_object" not in provider.last.body


@pytest.mark.parametrize("path", ["/v1", ""])
def test_stream(gateway: Gateway, provider: FakeProvider, path):
    stream = gateway.client(path=path).chat.completions.create(model="gpt", messages=HELLO, stream=True)
    chunks = list(stream)
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert {c.model for c in chunks} == {"gpt"}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks), "the client has not asked for usage"


def test_stream_with_usage(client: OpenAI, provider: FakeProvider):
    chunks = list(
        client.chat.completions.create(model="gpt", messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == count_tokens(TEXT)


async def test_async_client(gateway: Gateway, provider: FakeProvider):
    async with gateway.async_client() as client:
        stream = await client.chat.completions.create(model="gpt", messages=HELLO, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(texts) == TEXT


def test_tool(client: OpenAI, provider: FakeProvider):
    call, answer = use_tool(client, "gpt", messages=QUOTING)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": 'call "it"\n', "days": 1})
    assert answer == "sunny"


def test_streamed_tool(client: OpenAI, provider: FakeProvider):
    call = streamed_call(client, "gpt", messages=QUOTING)
    assert json.loads(call.function.arguments) == {"city": 'call "it"\n', "days": 1}


def test_several_choices(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="gpt", messages=HELLO, n=2)
    assert [choice.message.content for choice in completion.choices] == [TEXT, TEXT]


def test_azure(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="azure/my-deployment", messages=HELLO)
    assert completion.choices[0].message.content == TEXT
    assert completion.model == "azure/my-deployment"
    assert provider.last.path == "/openai/deployments/my-deployment/chat/completions"
    assert provider.last.query == {"api-version": "2024-10-21"}
    assert provider.last.headers["api-key"] == "az-provider"


def test_azure_stream(client: OpenAI, provider: FakeProvider):
    chunks = list(client.chat.completions.create(model="azure/my-deployment", messages=HELLO, stream=True))
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == TEXT
    # Azure's first chunk has the prompt filter results and an empty model.
    assert {c.model for c in chunks if c.choices} == {"azure/my-deployment"}


def test_wildcard(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="vendor/some-model", messages=HELLO)
    assert completion.model == "vendor/some-model"
    assert provider.last.model == "some-model"


def test_mock(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="mock", messages=HELLO)
    assert completion.choices[0].message.content == "Mocked."
    assert completion.usage
    assert completion.usage.total_tokens > 0
    stream = client.chat.completions.create(
        model="mock", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Mocked."
    assert chunks[-1].usage
    assert provider.requests == []


def test_models(client: OpenAI):
    assert [model.id for model in client.models.list()][:1] == ["gpt"]
    assert client.models.retrieve("gpt").id == "gpt"
    assert client.models.retrieve("azure/*").object == "model"


def test_response_headers(client: OpenAI, provider: FakeProvider):
    raw = client.chat.completions.with_raw_response.create(
        model="gpt", messages=HELLO, extra_headers={"x-request-id": "request-of-the-test"}
    )
    assert raw.headers["x-request-id"] == "request-of-the-test"
    assert raw.headers["x-litellm-model-group"] == "gpt"
    assert raw.headers["x-litellm-attempted-retries"] == "0"
    assert raw.headers["x-litellm-attempted-fallbacks"] == "0"
    assert raw.headers["x-litellm-model-id"]
    assert float(raw.headers["x-litellm-overhead-duration-ms"]) >= 0


@pytest.mark.parametrize("oddity", ["crlf", "no_done", "gzip", "usage_in=every", "usage_in=finish", "trickle=0"])
def test_streams_of_unusual_providers(client: OpenAI, provider: FakeProvider, oddity):
    provider.always(oddity)
    stream = client.chat.completions.create(model="gpt", messages=HELLO, stream=True)
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    assert {c.model for c in chunks} == {"gpt"}


def test_compressed_response(client: OpenAI, provider: FakeProvider):
    provider.always("gzip")
    assert client.chat.completions.create(model="gpt", messages=HELLO).choices[0].message.content == TEXT


def test_provider_that_rejects_stream_options(client: OpenAI, provider: FakeProvider):
    """The request is retried without them."""
    provider.always("reject_stream_options")
    stream = client.chat.completions.create(model="vendor/old", messages=HELLO, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == TEXT


def test_long_response(client: OpenAI, provider: FakeProvider):
    text = "".join(f"{i} äöü {i}\n" for i in range(20_000))
    provider.always(Behaviour(text=text, chunks=500))
    stream = client.chat.completions.create(model="gpt", messages=HELLO, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == text
    assert client.chat.completions.create(model="gpt", messages=HELLO).choices[0].message.content == text


def test_long_prompt(client: OpenAI, provider: FakeProvider):
    text = "x" * 3_000_000
    completion = client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": text}], max_tokens=5)
    assert completion.choices[0].message.content == "x" * 20
    assert provider.last.body["messages"][0]["content"] == text
