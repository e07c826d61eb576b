"""Completions and embeddings with OpenAI's client."""

import pytest
from openai import OpenAI

from tests.fakes.answers import count_tokens, embedding
from tests.fakes.server import FakeProvider
from tests.sdk.conftest import Gateway


@pytest.mark.parametrize("path", ["/v1", ""])
def test_completion(gateway: Gateway, provider: FakeProvider, path):
    completion = gateway.client(path=path).completions.create(model="gpt", prompt="Once upon a time", suffix="end")
    assert completion.choices[0].text == "Once upon a time"
    assert completion.model == "gpt"
    assert completion.usage
    assert completion.usage.completion_tokens == count_tokens("Once upon a time")
    assert provider.last.path == "/v1/completions"
    assert provider.last.body == {"model": "gpt-4o", "prompt": "Once upon a time", "suffix": "end"}


def test_streamed_completion(client: OpenAI, provider: FakeProvider):
    chunks = list(
        client.completions.create(
            model="gpt", prompt="Once upon a time", stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "Once upon a time"
    assert {c.model for c in chunks} == {"gpt"}
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 4


@pytest.mark.parametrize("path", ["/v1", ""])
def test_embeddings(gateway: Gateway, provider: FakeProvider, path):
    """The client requests base64 by default."""
    answer = gateway.client(path=path).embeddings.create(model="embedding", input=["one", "two"], dimensions=16)
    assert [item.embedding for item in answer.data] == [
        pytest.approx(embedding("one", 16)),
        pytest.approx(embedding("two", 16)),
    ]
    assert answer.model == "embedding"
    assert answer.usage.prompt_tokens == 2
    assert provider.last.path == "/v1/embeddings"
    assert provider.last.body["encoding_format"] == "base64"


def test_embeddings_as_numbers(client: OpenAI, provider: FakeProvider):
    answer = client.embeddings.create(model="embedding", input="one", dimensions=8, encoding_format="float")
    assert answer.data[0].embedding == pytest.approx(embedding("one", 8))


def test_embeddings_with_azure(client: OpenAI, provider: FakeProvider):
    answer = client.embeddings.create(model="azure/my-embedding", input="one")
    assert answer.model == "azure/my-embedding"
    assert provider.last.path == "/openai/deployments/my-embedding/embeddings"
