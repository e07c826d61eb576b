"""OpenAI's client against Gemini, plain and streamed, with tools, images and JSON schemas."""

import json
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.conversation import ARGUMENTS, HELLO, TEXT, TOOL, streamed_call, use_tool
from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.gemini.conftest import KEY
from tests.processes import RunningProxy


@pytest.mark.parametrize("path", ["/v1", ""])
def test_plain(gemini_proxy: RunningProxy, provider: FakeProvider, path):
    completion = gemini_proxy.client(path=path).chat.completions.create(model="gemini", messages=HELLO, max_tokens=100)
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "gemini"
    assert completion.usage
    assert completion.usage.prompt_tokens == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert completion.usage.completion_tokens == count_tokens(TEXT)
    (seen,) = provider.requests
    assert seen.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert seen.body == {
        "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 100},
    }


def test_key_is_in_a_header_and_not_in_the_url(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="gemini", messages=HELLO)
    assert provider.last.headers["x-goog-api-key"] == KEY
    assert "authorization" not in provider.last.headers
    assert KEY not in provider.last.path + provider.last.query_string


def test_output_limit(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="gemini", messages=HELLO, max_completion_tokens=3)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 3


def test_stream(client: OpenAI, provider: FakeProvider):
    chunks = list(client.chat.completions.create(model="gemini", messages=HELLO, stream=True))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert {c.model for c in chunks} == {"gemini"}
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * 5 + ["stop"]
    assert all(c.usage is None for c in chunks), "the client has not asked for usage"
    assert provider.last.query == {"alt": "sse"}


def test_stream_with_usage(client: OpenAI, provider: FakeProvider):
    stream = client.chat.completions.create(
        model="gemini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == count_tokens(TEXT)


@pytest.mark.parametrize("model", ["gemini", "gemini-3"])
def test_tool_and_its_result(client: OpenAI, provider: FakeProvider, model):
    call, answer = use_tool(client, model)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    assert "sunny" in answer
    result = provider.last.body["contents"][-1]["parts"][0]["functionResponse"]
    assert (result["name"], result["response"]) == ("weather", {"content": "sunny"})


def test_streamed_tool(client: OpenAI, provider: FakeProvider):
    call = streamed_call(client, "gemini")
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


def test_forced_tool(client: OpenAI, provider: FakeProvider):
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    completion = client.chat.completions.create(model="gemini", messages=HELLO, tools=[TOOL], tool_choice=choice)
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["city"] == TEXT


class City(BaseModel):
    name: str
    people: int | None


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_response_in_a_json_schema(client: OpenAI, provider: FakeProvider, stream):
    provider.always(Behaviour(text='{"name": "Ulm", "people": null}'))
    if stream:
        with client.chat.completions.stream(model="gemini", messages=HELLO, response_format=City) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.parse(model="gemini", messages=HELLO, response_format=City).choices[0].message
    assert message.parsed == City(name="Ulm", people=None)
    generation = provider.last.body["generationConfig"]
    assert generation["responseMimeType"] == "application/json"
    assert generation["responseJsonSchema"]["properties"]["people"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]


def test_wildcard(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="gemini/gemini-2.5-pro", messages=HELLO)
    assert completion.model == "gemini/gemini-2.5-pro"
    assert provider.last.model == "gemini-2.5-pro"


def test_image_url_is_sent_to_google_and_not_fetched_here(client: OpenAI, provider: FakeProvider):
    url = f"{provider.url}/secret.png".replace("http://", "https://")
    content: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    client.chat.completions.create(model="gemini", messages=[{"role": "user", "content": content}])
    (seen,) = provider.requests
    assert seen.body["contents"][0]["parts"][1] == {"fileData": {"mimeType": "image/png", "fileUri": url}}
