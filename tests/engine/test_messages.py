"""Anthropic's client against the gateway, with engine models behind `/v1/messages`."""

from typing import Any

import anthropic
import pytest

from tests.fakes.answers import count_tokens
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

HELLO: Any = [{"role": "user", "content": "Hello there, world"}]


@pytest.fixture
def client(engine_proxy: RunningProxy) -> anthropic.Anthropic:
    """The client sends its key as `x-api-key`."""
    return anthropic.Anthropic(base_url=engine_proxy.url, api_key=MASTER_KEY, max_retries=0)


def test_message(client: anthropic.Anthropic, provider: FakeProvider):
    message = client.messages.create(model="claude", max_tokens=100, messages=HELLO)
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello there, world"
    assert message.usage.output_tokens == count_tokens("Hello there, world")
    assert message.model == "claude"
    assert provider.last.api_key == "sk-ant-provider"


def test_stream(client: anthropic.Anthropic, provider: FakeProvider):
    with client.messages.stream(model="claude", max_tokens=100, messages=HELLO) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(texts) == "Hello there, world"
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == count_tokens("Hello there, world")


def test_model_of_another_provider(client: anthropic.Anthropic, provider: FakeProvider):
    """The engine also translates in the other direction."""
    message = client.messages.create(model="gemini", max_tokens=100, messages=HELLO)
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello there, world"
    assert provider.last.format == "gemini"


def test_wrong_key(engine_proxy: RunningProxy, provider: FakeProvider):
    client = anthropic.Anthropic(base_url=engine_proxy.url, api_key="sk-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model="claude", max_tokens=100, messages=HELLO)
    assert provider.requests == []


def test_unknown_model(client: anthropic.Anthropic):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="claude-99", max_tokens=100, messages=HELLO)
