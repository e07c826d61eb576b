"""OpenAI's client requests chat completions from models served only through the Responses API."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.conversation import ARGUMENTS, CALL, HELLO, TEXT, TOOL, streamed_call, use_tool
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.formats.responses import ENCRYPTED, THOUGHT
from tests.fakes.server import FakeProvider

REFUSES_CHAT = (
    "This model is only supported in v1/responses and not in v1/chat/completions.",
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use "
    "v1/completions?",
    "The chatCompletion operation does not work with the specified model, house-model. Please choose different model.",
    "Unsupported for this model: please use the Responses API.",
)


class City(BaseModel):
    name: str
    days: int


def test_plain(client: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(usage_details=(3, 2)))
    answer = client.chat.completions.create(model="pro", messages=HELLO, max_completion_tokens=500)
    assert provider.last.path == "/v1/responses"
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (TEXT, "stop")
    assert (answer.model, answer.service_tier) == ("pro", "default")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.usage.prompt_tokens_details
    assert answer.usage.completion_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2
    sent = provider.last.body
    assert (sent["model"], sent["store"], sent["max_output_tokens"]) == ("gpt-5-pro", False, 500)
    assert sent["instructions"] == "Be brief."


@pytest.mark.parametrize("asks", [False, True])
def test_stream(client: OpenAI, provider: FakeProvider, asks: bool):
    more: Any = {"stream_options": {"include_usage": True}} if asks else {}
    chunks = list(client.chat.completions.create(model="codex", messages=HELLO, stream=True, **more))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    assert {c.model for c in chunks} == {"codex"}
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [asks]


def test_model_without_streaming_is_streamed_in_one_piece(client: OpenAI, provider: FakeProvider):
    chunks = list(client.chat.completions.create(model="pro", messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert (chunks[0].choices[0].delta.role, chunks[-1].choices[0].finish_reason) == ("assistant", "stop")
    assert "stream" not in provider.last.body


@pytest.mark.parametrize("model", ["pro", "five", "azure"])
def test_tool_and_its_result(client: OpenAI, provider: FakeProvider, model: str):
    call, answer = use_tool(client, model)
    assert json.loads(call.function.arguments) == ARGUMENTS
    assert answer == "sunny"
    assert provider.last.path.endswith("/responses")


def test_reasoning_is_returned_with_the_tool_result(client: OpenAI, provider: FakeProvider):
    use_tool(client, "pro")
    kinds = [item["type"] for item in provider.last.body["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    assert provider.last.body["input"][1]["encrypted_content"] == ENCRYPTED


@pytest.mark.parametrize("effort", ["low", "high", None])
def test_tools_with_any_effort_except_none_use_responses(client: OpenAI, provider: FakeProvider, effort):
    more: Any = {} if effort is None else {"reasoning_effort": effort}
    answer = client.chat.completions.create(model="azure", messages=CALL, tools=[TOOL], **more)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert provider.last.body.get("reasoning") == ({"effort": effort} if effort else None)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("more", [{"tools": [TOOL], "reasoning_effort": "none"}, {"reasoning_effort": "high"}, {}])
def test_supported_chat_request_stays_in_chat(client: OpenAI, provider: FakeProvider, more: Any):
    client.chat.completions.create(model="five", messages=HELLO, **more)
    assert provider.last.path == "/v1/chat/completions"


@pytest.mark.parametrize("model", ["pro", "codex", "azure"])
def test_streamed_call(client: OpenAI, provider: FakeProvider, model: str):
    call = streamed_call(client, model)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    assert call.id.startswith("call_fake_")


def test_structured_output(client: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(text='{"name": "Köln", "days": 2}'))
    answer = client.chat.completions.parse(model="pro", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Köln", days=2)
    format = provider.last.body["text"]["format"]
    assert (format["type"], format["strict"], format["name"]) == ("json_schema", True, "City")


@pytest.mark.parametrize("stream", [False, True])
def test_requested_summary_becomes_reasoning_content(client: OpenAI, provider: FakeProvider, stream: bool):
    asked: Any = {"reasoning_effort": {"effort": "high", "summary": "auto"}}
    answer: Any = client.chat.completions.create(model="pro", messages=HELLO, stream=stream, extra_body=asked)
    if stream:
        deltas = [chunk.choices[0].delta.model_dump() for chunk in answer if chunk.choices]
        thought = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    else:
        thought = answer.choices[0].message.model_dump()["reasoning_content"]
    assert thought == THOUGHT
    assert provider.last.body["reasoning"] == {"effort": "high", "summary": "auto"}


def test_response_cut_off_by_its_limit(client: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(text="word " * 200))
    answer = client.chat.completions.create(model="pro", messages=HELLO, max_tokens=20)
    assert answer.choices[0].finish_reason == "length"
    assert provider.last.body["max_output_tokens"] == 20


def test_too_small_limit_is_raised_to_the_minimum(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="pro", messages=HELLO, max_tokens=1)
    assert provider.last.body["max_output_tokens"] == 16


def test_route_prefix_selects_responses(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="prefixed", messages=HELLO)
    assert (provider.last.path, provider.last.body["model"]) == ("/v1/responses", "gpt-4.1")
    assert "include" not in provider.last.body, "it does not reason"


def test_old_azure_version_uses_the_v1_api_for_responses(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="azure", messages=CALL, tools=[TOOL])
    assert (provider.last.path, provider.last.body["model"]) == ("/openai/v1/responses", "ours")


@pytest.mark.parametrize("message", REFUSES_CHAT)
@pytest.mark.parametrize("stream", [False, True])
def test_error_that_points_to_responses_is_followed_and_remembered(
    client: OpenAI, provider: FakeProvider, message: str, stream: bool
):
    model = f"learner/{REFUSES_CHAT.index(message)}-{stream}"
    provider.queue(failing(404 if "not" in message else 400, message=message))
    for _ in range(2):
        answer: Any = client.chat.completions.create(model=model, messages=HELLO, stream=stream)
        assert list(answer) if stream else answer.choices[0].message.content == TEXT
    assert [seen.path for seen in provider.requests] == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]


def test_failed_switch_reports_the_first_error_and_is_not_remembered(client: OpenAI, provider: FakeProvider):
    refusals = failing(400, message=REFUSES_CHAT[2]), failing(404, message="Unknown request URL.")
    for _ in range(2):
        provider.queue(*refusals)
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="stubborn", messages=HELLO)
        assert "operation" in str(caught.value)
    paths = [seen.path for seen in provider.requests]
    assert paths == ["/v1/chat/completions", "/v1/responses"] * 2


def test_implicit_effort_is_remembered_only_for_requests_with_tools(client: OpenAI, provider: FakeProvider):
    client.chat.completions.create(model="five", messages=CALL, tools=[TOOL])
    client.chat.completions.create(model="five", messages=CALL, tools=[TOOL])
    client.chat.completions.create(model="five", messages=HELLO)
    paths = [seen.path.removeprefix("/v1") for seen in provider.requests][-3:]
    assert paths == ["/responses", "/responses", "/chat/completions"]


# Errors


def test_failure_before_the_content_allows_a_fallback(client: OpenAI, provider: FakeProvider):
    provider.always(failing(503), model="gpt-5-codex")
    answer = client.chat.completions.create(model="frail", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert [seen.model for seen in provider.requests] == ["gpt-5-codex", "gpt-4o"]


@pytest.mark.parametrize("stream", [False, True])
def test_error_instead_of_a_response_allows_a_fallback(client: OpenAI, provider: FakeProvider, stream: bool):
    provider.always(Behaviour(fault=Fault.ERROR_FIRST_EVENT), model="gpt-5-codex")
    answer: Any = client.chat.completions.create(model="frail", messages=HELLO, stream=stream)
    assert list(answer) if stream else answer.choices[0].message.content == TEXT
    assert [seen.model for seen in provider.requests] == ["gpt-5-codex", "gpt-4o"]


def test_error_in_mid_stream_is_reported(client: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(fault=Fault.ERROR_MID_STREAM))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="codex", messages=HELLO, stream=True))


def test_truncated_stream_is_reported(client: OpenAI, provider: FakeProvider):
    provider.always(Behaviour(fault=Fault.END_EARLY))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="codex", messages=HELLO, stream=True))


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("stop", ["x"]), ("logit_bias", {"5": 1}), ("top_k", 4)])
def test_significant_unsupported_field_is_rejected(client: OpenAI, provider: FakeProvider, name: str, value: Any):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="pro", messages=HELLO, extra_body={name: value})
    assert caught.value.param == name
    assert not provider.requests


def test_provider_without_encrypted_reasoning_is_retried_without(client: OpenAI, provider: FakeProvider):
    provider.queue(failing(400, message="Encrypted content is not supported with this model."))
    for _ in range(2):
        client.chat.completions.create(model="secretive", messages=HELLO)
    assert ["include" in seen.body for seen in provider.requests] == [True, False, False]
