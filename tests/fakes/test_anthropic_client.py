"""Anthropic's own client against the fake provider."""

from typing import Any

import anthropic
import pytest

from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider

# Any: type checkers distinguish a literal's dicts only in place.
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
MODEL = "claude-sonnet-4-6"


@pytest.fixture
def client(fake: FakeProvider) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=fake.url, api_key="sk-ant-fake", max_retries=0)


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def test_message(client: anthropic.Anthropic, fake: FakeProvider):
    message = client.messages.create(model=MODEL, max_tokens=100, system="Be brief.", messages=user("Hällo"))
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hällo"
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens == count_tokens("Be brief.") + count_tokens("Hällo") + 2 * 4
    assert message.usage.output_tokens == count_tokens("Hällo")
    assert fake.last.api_key == "sk-ant-fake"
    assert fake.last.model == MODEL


def test_stream(client: anthropic.Anthropic):
    with client.messages.stream(model=MODEL, max_tokens=100, messages=user("Hello there, world")) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(texts) == 5
    assert "".join(texts) == "Hello there, world"
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == count_tokens("Hello there, world")


def test_limit(client: anthropic.Anthropic):
    message = client.messages.create(model=MODEL, max_tokens=1, messages=user("Hello there"))
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 1)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_forced_tool(client: anthropic.Anthropic, choice):
    message = client.messages.create(
        model=MODEL, max_tokens=100, messages=user("Paris"), tools=[TOOL], tool_choice=choice
    )
    (block,) = message.content
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("weather", {"city": "Paris", "days": 1})
    assert message.stop_reason == "tool_use"


def test_streamed_tool_and_its_result(client: anthropic.Anthropic):
    with client.messages.stream(model=MODEL, max_tokens=100, messages=user("call it"), tools=[TOOL]) as stream:
        called = stream.get_final_message()
    (block,) = called.content
    assert block.type == "tool_use"
    assert block.input == {"city": "call it", "days": 1}
    result: Any = {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
    messages: Any = [*user("call it"), {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
    answered = client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=[TOOL])
    assert answered.content[0].type == "text"
    assert answered.content[0].text == "sunny"


def test_count_tokens(client: anthropic.Anthropic):
    assert client.messages.count_tokens(model=MODEL, messages=user("12345678")).input_tokens == 2 + 4


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
def test_error_statuses(client: anthropic.Anthropic, fake: FakeProvider, status, error):
    fake.queue(str(status))
    with pytest.raises(error) as raised:
        client.messages.create(model=MODEL, max_tokens=1, messages=user("x"))
    assert raised.value.body["type"] == "error"


@pytest.mark.parametrize("fault", [Fault.ERROR_FIRST_EVENT, Fault.ERROR_MID_STREAM])
def test_error_event(client: anthropic.Anthropic, fake: FakeProvider, fault):
    fake.always(Behaviour(fault))
    with (
        pytest.raises(anthropic.APIStatusError, match="overloaded"),
        client.messages.stream(model=MODEL, max_tokens=9, messages=user("Hello")) as stream,
    ):
        stream.get_final_message()
