"""`mock_response`: responses without a provider."""

import orjson
import pytest
from openai.types import Completion as TextCompletion
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from container.formats.shared import mock
from container.formats.shared.events import payload, split
from container.formats.shared.wire import Plain, Stream
from container.request.completion import parse
from container.routing.health import Outcome

TEXT = "Hello there,  friend.\nBye"


@pytest.fixture
def answered(deployment):
    def ask(endpoint: str = "chat_completions", text: str = TEXT, **fields):
        required = {"chat_completions": ("messages", [{"role": "user", "content": "x" * 41}])}
        required |= {"completions": ("prompt", "x" * 41), "embeddings": ("input", "x" * 41)}
        name, value = required[endpoint]
        request = parse(endpoint, orjson.dumps({"model": "m", name: value, **fields}))
        return mock.answer(deployment(model="openai/x", mock_response=text), request, "m")

    return ask


async def events(answer) -> list[bytes]:
    assert isinstance(answer, Stream)
    return split(b"".join([answer.first, *[data async for data in answer.rest]]))


def plain(answer) -> bytes:
    assert isinstance(answer, Plain)
    return answer.body


def test_chat_completion(answered):
    found = ChatCompletion.model_validate_json(plain(answered()))
    assert (found.model, found.choices[0].message.content, found.choices[0].finish_reason) == ("m", TEXT, "stop")
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (11, 7, 18)
    assert answered().usage == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def test_completion(answered):
    found = TextCompletion.model_validate_json(plain(answered("completions")))
    assert (found.object, found.choices[0].text) == ("text_completion", TEXT)


async def test_chat_stream(answered):
    sent = await events(answered(stream=True))
    assert sent[-1] == b"data: [DONE]\n\n"
    chunks = [ChatCompletionChunk.model_validate(payload(event)) for event in sent[:-1]]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[-2:]] == [None, "stop"]
    assert len({c.id for c in chunks}) == 1
    assert all(c.usage is None for c in chunks)


async def test_stream_ends_with_usage_when_requested(answered):
    sent = await events(answered(stream=True, stream_options={"include_usage": True}))
    last = ChatCompletionChunk.model_validate(payload(sent[-2]))
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 18


def test_usage_of_a_stream_is_always_known(answered):
    assert answered(stream=True).events.usage == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


async def test_completion_stream(answered):
    sent = await events(answered("completions", stream=True))
    assert "".join((payload(event) or {})["choices"][0]["text"] for event in sent[:-1]) == TEXT


async def test_empty_text_is_a_valid_response(answered):
    assert ChatCompletion.model_validate_json(plain(answered(text=""))).choices[0].message.content == ""
    assert len(await events(answered(text="", stream=True))) == 3


@pytest.mark.parametrize(("value", "count"), [("x", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_have_a_vector_for_each_input(answered, value, count):
    found = CreateEmbeddingResponse.model_validate_json(plain(answered("embeddings", input=value)))
    assert [d.index for d in found.data] == list(range(count))
    assert {len(d.embedding) for d in found.data} == {1536}
    assert found.usage.prompt_tokens > 0


def test_embeddings_have_the_requested_dimensions(answered):
    found = CreateEmbeddingResponse.model_validate_json(plain(answered("embeddings", dimensions=8)))
    assert len(found.data[0].embedding) == 8
    encoded = orjson.loads(plain(answered("embeddings", dimensions=3, encoding_format="base64")))
    assert encoded["data"][0]["embedding"] == "A" * 16


@pytest.mark.parametrize("fields", [{"dimensions": 16_385}, {"input": ["a"] * 5000}])
def test_oversized_embeddings_are_rejected(answered, fields):
    found = answered("embeddings", **fields)
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.param) == ("caller", 400, next(iter(fields)))


@pytest.mark.parametrize(
    "content",
    [
        None,
        "text",
        [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}],
        [{"content": {}}],
    ],
)
def test_any_message_is_accepted(answered, content):
    assert plain(answered(messages=[{"role": "user", "content": content}]))


def test_deeply_nested_message_is_accepted(deployment):
    content = b'[{"content":' * 500 + b'"deep"' + b"}]" * 500
    request = parse("chat_completions", b'{"model":"m","messages":[{"role":"user","content":%s}]}' % content)
    assert plain(mock.answer(deployment(model="openai/x", mock_response="hi"), request, "m"))
