"""OpenAI's own client against the fake provider."""

import json
from typing import Any

import openai
import pytest

from tests.fakes.answers import count_tokens, embedding
from tests.fakes.behaviour import Behaviour
from tests.fakes.formats.azure import DEPLOYED_MODEL
from tests.fakes.formats.openai import SNAPSHOT
from tests.fakes.server import FakeProvider

# Any: type checkers distinguish a literal's dicts only in place.
WEATHER_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hällo 世界, how are you?"}]


@pytest.fixture(params=["/v1", "/openai/v1", "/api/v1"])
def client(fake: FakeProvider, request: pytest.FixtureRequest) -> openai.OpenAI:
    return openai.OpenAI(base_url=fake.url + request.param, api_key="sk-fake", max_retries=0)


@pytest.fixture
def azure(fake: FakeProvider) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(azure_endpoint=fake.url, api_key="az-fake", api_version="2024-10-21", max_retries=0)


def test_chat_echoes_the_last_user_message(client: openai.OpenAI, fake: FakeProvider):
    completion = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert completion.choices[0].message.content == "Hällo 世界, how are you?"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "gpt-4o" + SNAPSHOT
    assert completion.usage
    assert completion.usage.prompt_tokens == count_tokens("Be brief.") + count_tokens(HELLO[1]["content"]) + 2 * 4
    assert completion.usage.completion_tokens == count_tokens(HELLO[1]["content"])
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert fake.last.api_key == "sk-fake"
    assert fake.last.body["messages"] == HELLO


def test_content_may_be_parts(client: openai.OpenAI):
    parts: Any = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": parts}])
    assert completion.choices[0].message.content == "one two"


def test_output_limit_truncates_the_response(client: openai.OpenAI):
    completion = client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    assert completion.choices[0].message.content == "Hällo "  # eight bytes end in the middle of the next character
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 2


def test_n_choices(client: openai.OpenAI):
    completion = client.chat.completions.create(model="m", messages=HELLO, n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert completion.usage
    assert completion.usage.completion_tokens == 3 * count_tokens(HELLO[1]["content"])


def test_chat_streams_in_chunks(client: openai.OpenAI, fake: FakeProvider):
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    texts = [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == HELLO[1]["content"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks)
    assert fake.last.events_sent == 5


def test_chat_stream_reports_usage_when_requested(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == count_tokens(HELLO[1]["content"])


def test_tool_call_when_forced(client: openai.OpenAI):
    completion = client.chat.completions.create(model="m", messages=HELLO, tools=[WEATHER_TOOL], tool_choice="required")
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": HELLO[1]["content"], "days": 1}
    assert completion.choices[0].finish_reason == "tool_calls"


def test_tool_call_only_when_the_prompt_says_so(client: openai.OpenAI):
    def ask(text: str):
        message: Any = {"role": "user", "content": text}
        return client.chat.completions.create(model="m", messages=[message], tools=[WEATHER_TOOL]).choices[0].message

    assert ask("call the tool").tool_calls
    assert ask("no tool").tool_calls is None


def test_tool_result_gets_a_text_response(client: openai.OpenAI):
    called = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "call it"}], tools=[WEATHER_TOOL]
    )
    message = called.choices[0].message
    assert message.tool_calls
    messages: Any = [
        {"role": "user", "content": "call it"},
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"},
    ]
    answered = client.chat.completions.create(model="m", messages=messages, tools=[WEATHER_TOOL])
    assert answered.choices[0].message.content == "sunny"


def test_tool_call_streams_in_pieces(client: openai.OpenAI):
    message: Any = {"role": "user", "content": "call it"}
    with client.chat.completions.stream(model="m", messages=[message], tools=[WEATHER_TOOL]) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "call it", "days": 1}


def test_completions(client: openai.OpenAI):
    plain = client.completions.create(model="m", prompt="Once upon a time")
    assert plain.choices[0].text == "Once upon a time"
    chunks = list(
        client.completions.create(
            model="m", prompt="Once upon a time", stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "Once upon a time"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 4


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(client: openai.OpenAI, fake: FakeProvider, encoding):
    answer = client.embeddings.create(model="e", input=["one", "two"], encoding_format=encoding, dimensions=16)
    assert fake.last.body["encoding_format"] == encoding
    if encoding == "float":
        assert answer.data[1].embedding == pytest.approx(embedding("two", 16))
    else:
        assert isinstance(answer.data[1].embedding, str)
    assert answer.usage.prompt_tokens == 2


def test_embeddings_are_base64_by_default(client: openai.OpenAI, fake: FakeProvider):
    """The client requests base64 and decodes it."""
    answer = client.embeddings.create(model="e", input="one", dimensions=8)
    assert fake.last.body["encoding_format"] == "base64"
    assert answer.data[0].embedding == pytest.approx(embedding("one", 8))


def test_models(client: openai.OpenAI):
    assert "gpt-4o" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_error_statuses(client: openai.OpenAI, fake: FakeProvider, status, error):
    fake.queue(f"{status},retry_after=7,message=as ordered")
    with pytest.raises(error, match="as ordered") as raised:
        client.chat.completions.create(model="m", messages=HELLO)
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.body["type"]


def test_azure_chat(azure: openai.AzureOpenAI, fake: FakeProvider):
    completion = azure.chat.completions.create(model="my-deployment", messages=HELLO)
    assert completion.choices[0].message.content == HELLO[1]["content"]
    assert completion.model == DEPLOYED_MODEL
    assert fake.last.path == "/openai/deployments/my-deployment/chat/completions"
    assert fake.last.query == {"api-version": "2024-10-21"}
    assert fake.last.headers["api-key"] == "az-fake"


def test_azure_stream_starts_with_the_prompt_filter_and_no_model(azure: openai.AzureOpenAI):
    chunks = list(azure.chat.completions.create(model="d", messages=HELLO, stream=True))
    assert (chunks[0].model, chunks[0].choices) == ("", [])
    assert chunks[0].model_extra
    assert "prompt_filter_results" in chunks[0].model_extra
    assert {c.model for c in chunks[1:]} == {DEPLOYED_MODEL}


def test_azure_requires_its_version(fake: FakeProvider):
    client = openai.OpenAI(base_url=f"{fake.url}/openai/deployments/d", api_key="az-fake", max_retries=0)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="m", messages=HELLO)


def test_custom_text_and_usage(client: openai.OpenAI, fake: FakeProvider):
    fake.always(Behaviour(text="Fixed.", usage=(1000, 200)))
    completion = client.chat.completions.create(model="m", messages=HELLO)
    assert completion.choices[0].message.content == "Fixed."
    assert completion.usage
    assert completion.usage.total_tokens == 1200
