"""OpenAI's client against Claude, called directly: tools, schemas, streams and fallbacks."""

import itertools
import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.conversation import ARGUMENTS, HELLO, TEXT, streamed_call, use_tool, weather
from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy

TOOL = weather("weather.of/city")


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def chat(gateway: RunningProxy) -> OpenAI:
    return gateway.client()


def test_plain(chat: OpenAI, provider: FakeProvider):
    raw = chat.chat.completions.with_raw_response.create(model="claude", messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    assert (answer.model, answer.choices[0].finish_reason) == ("claude", "stop")
    assert answer.usage
    assert answer.usage.prompt_tokens == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert answer.usage.completion_tokens == count_tokens(TEXT)
    assert raw.headers["x-litellm-model-group"] == "claude"
    assert provider.last.path == "/v1/messages"
    assert provider.last.api_key == "sk-ant-provider"


@pytest.mark.parametrize("asks", [False, True])
def test_stream(chat: OpenAI, provider: FakeProvider, asks: bool):
    more: Any = {"stream_options": {"include_usage": True}} if asks else {}
    chunks = list(chat.chat.completions.create(model="claude", messages=HELLO, stream=True, **more))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert {c.model for c in chunks} == {"claude"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [asks]


def test_tool_and_its_result(chat: OpenAI, provider: FakeProvider):
    call, answer = use_tool(chat, "claude", tool=TOOL)
    assert call.function.name == "weather.of/city", "Anthropic takes no such name; the client gets its own back"
    assert [seen.body["tools"][0]["name"] for seen in provider.requests] == ["weather_of_city"] * 2
    assert json.loads(call.function.arguments) == ARGUMENTS
    assert answer == "sunny"


def test_streamed_tool(chat: OpenAI, provider: FakeProvider):
    call = streamed_call(chat, "claude", tool=TOOL)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather.of/city", ARGUMENTS)


def test_schema(chat: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(text='{"name": "Paris", "inhabitants": 2100000}'))
    answer = chat.chat.completions.parse(model="claude", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", inhabitants=2_100_000)
    sent = provider.last.body["output_config"]["format"]
    assert (sent["type"], sent["schema"]["required"]) == ("json_schema", ["name", "inhabitants"])
    assert "anthropic-beta" not in provider.last.headers


def test_field_unsupported_by_claude_is_named(chat: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.BadRequestError) as raised:
        chat.chat.completions.create(model="claude", messages=HELLO, seed=1)
    assert (raised.value.param, raised.value.code) == ("seed", "unsupported_parameter")
    assert provider.requests == []


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [
        *itertools.product([failing(529), failing(429, retry_after=7)], [False, True]),
        (Behaviour(Fault.ERROR_FIRST_EVENT), True),
    ],
)
def test_fallback_before_the_first_byte(chat: OpenAI, provider: FakeProvider, behaviour, stream):
    provider.always(behaviour, model="frail")
    answer = chat.chat.completions.create(model="frail", messages=HELLO, stream=stream)
    first = next(iter(answer)) if isinstance(answer, openai.Stream) else answer
    assert first.model == "gpt"
    assert [seen.format for seen in provider.requests] == ["anthropic", "openai"]


def test_fallback_that_lacks_a_field_is_skipped(chat: OpenAI, provider: FakeProvider):
    provider.always(failing(503), model="gpt-4o")
    fallbacks = {"fallbacks": ["claude", "thinker"]}
    answer = chat.chat.completions.create(model="gpt", messages=HELLO, seed=1, extra_body=fallbacks)
    assert answer.model == "thinker"
    assert [seen.model for seen in provider.requests] == ["gpt-4o", "gpt-5"]


def test_provider_error_takes_precedence_over_a_fallbacks_unsupported_field(chat: OpenAI, provider: FakeProvider):
    provider.always(failing(503, message="as ordered"), model="gpt-4o")
    with pytest.raises(openai.InternalServerError, match=r"gpt .* 503, as ordered; claude .* 400, .*'seed'"):
        chat.chat.completions.create(model="gpt", messages=HELLO, seed=1, extra_body={"fallbacks": ["claude"]})


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM, Fault.HALF_CHUNK, Fault.END_EARLY])
def test_truncated_stream_ends_with_an_error(chat: OpenAI, provider: FakeProvider, fault):
    provider.always(Behaviour(fault, after=3, pace=0.05))
    with pytest.raises(openai.APIError):
        list(chat.chat.completions.create(model="claude", messages=HELLO, stream=True))


@pytest.mark.parametrize(("status", "error"), [(400, openai.BadRequestError), (429, openai.RateLimitError)])
def test_errors(chat: OpenAI, provider: FakeProvider, status, error):
    provider.always(failing(status, message="as ordered", retry_after=7))
    with pytest.raises(error, match="as ordered"):
        chat.chat.completions.create(model="claude", messages=HELLO)
    assert len(provider.requests) == 1
