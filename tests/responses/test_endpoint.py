"""`/v1/responses` through the engine: nothing is stored, and errors about one request cause no cooldown."""

from typing import Any

import openai
import orjson
import pytest
from openai import OpenAI

from tests.fakes.behaviour import Behaviour
from tests.fakes.formats.responses import ENCRYPTED
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy

USER: Any = {"role": "user", "content": "Hello there"}
INCLUDED: Any = "reasoning.encrypted_content"
REFERENCE: Any = {"type": "item_reference", "id": "rs_0123456789"}


@pytest.fixture(scope="module")
def client(module_proxy: StartProxy, providers: FakeProvider) -> OpenAI:
    at_fake = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    proxy = module_proxy(
        {
            "model_list": [
                {"model_name": "thinker", "litellm_params": {"model": "openai/gpt-5.1", **at_fake}},
                {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", **at_fake}},
                {"model_name": "local", "litellm_params": {"model": "openai/local-model", **at_fake}},
                {"model_name": "vllm/*", "litellm_params": {"model": "hosted_vllm/*", **at_fake}},
                {
                    "model_name": "claude",
                    "litellm_params": {
                        "model": "anthropic/claude-sonnet-4-6",
                        "api_base": providers.url,
                        "api_key": "k",
                    },
                },
            ],
            "router_settings": {"num_retries": 0, "cooldown_time": 60},
        },
        environment={"ENGINE_START_TIMEOUT": "120"},  # when the machine is busy
    )
    return proxy.client(timeout=120)


@pytest.mark.parametrize("model", ["thinker", "gpt", "claude"])
def test_reference_to_a_stored_item_is_a_clear_error(client: OpenAI, provider: FakeProvider, model: str):
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model=model, input=[USER, REFERENCE])
    assert caught.value.param == "input"
    assert not provider.requests


def test_reasoning_is_returned_and_can_be_sent_back(client: OpenAI, provider: FakeProvider):
    first = client.responses.create(model="thinker", input=[USER], store=False, include=[INCLUDED])
    assert provider.last.body["store"] is False
    (reasoning,) = [item for item in first.output if item.type == "reasoning"]
    assert reasoning.encrypted_content == ENCRYPTED
    more: Any = [USER, *(item.model_dump(exclude_none=True) for item in first.output), USER]
    assert client.responses.create(model="thinker", input=more).output_text == "Hello there"
    assert provider.last.body["input"][1]["encrypted_content"] == ENCRYPTED


def test_stored_reasoning_is_sent_back_by_its_id(client: OpenAI, provider: FakeProvider):
    first = client.responses.create(model="thinker", input=[USER])
    assert "store" not in provider.last.body
    (reasoning,) = [item for item in first.output if item.type == "reasoning"]
    assert not reasoning.id.startswith("rs_fake")
    more: Any = [USER, *(item.model_dump(exclude_none=True) for item in first.output), USER]
    assert client.responses.create(model="thinker", input=more).output_text == "Hello there"
    assert provider.last.body["input"][1]["id"].startswith("rs_fake")


def test_reasoning_is_not_requested_from_a_non_reasoning_model(client: OpenAI, provider: FakeProvider):
    assert client.responses.create(model="gpt", input=[USER]).output_text == "Hello there"
    assert "include" not in provider.last.body


def test_reasoning_without_content_does_not_break_the_conversation(client: OpenAI, provider: FakeProvider):
    named: Any = {"type": "reasoning", "id": "rs_0123456789", "summary": []}
    assert client.responses.create(model="thinker", input=[USER, named, USER]).output_text == "Hello there"


def test_item_unknown_to_the_provider_causes_no_cooldown(client: OpenAI, provider: FakeProvider):
    """Only its id could tell that it is not the provider's own, so it is forwarded unchanged."""
    unknown: Any = {"type": "web_search_call", "id": "ws_0123456789", "status": "completed"}
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="thinker", input=[USER, unknown])
    assert 400 <= caught.value.status_code < 500
    assert client.responses.create(model="thinker", input=[USER]).output_text == "Hello there"


NO_PAGE = [
    (404, b'{"detail":"Not Found"}'),
    (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
    (404, b"404 page not found"),
    (404, b'{"error":{"message":"Unknown request URL: POST /v1/responses.","code":"unknown_url"}}'),
    (405, b'{"detail":"Method Not Allowed"}'),
]


@pytest.mark.parametrize(("status", "raw"), NO_PAGE)
def test_chat_only_server_is_called_through_chat(client: OpenAI, provider: FakeProvider, status, raw):
    model = f"vllm/model-{NO_PAGE.index((status, raw))}"
    provider.queue(Behaviour(status=status, raw=(raw,)))
    first = client.responses.create(model=model, input=[USER], max_output_tokens=20)
    assert (first.output_text, first.model) == ("Hello there", model)
    assert [r.path.rpartition("/v1/")[2] for r in provider.requests] == ["responses", "chat/completions"]
    assert provider.last.body["max_tokens"] == 20
    provider.reset()
    events = list(client.responses.create(model=model, input=[USER], stream=True))
    assert events[-1].type == "response.completed"
    assert [r.path.rpartition("/v1/")[2] for r in provider.requests] == ["chat/completions"]


def test_chat_error_is_reported_and_not_remembered(client: OpenAI, provider: FakeProvider):
    refusal = {"error": {"message": "Invalid value for 'x'.", "type": "invalid_request_error", "param": "x"}}
    provider.queue(Behaviour(status=404, raw=(b"",)), Behaviour(status=400, raw=(orjson.dumps(refusal),)))
    with pytest.raises(openai.BadRequestError, match="Invalid value"):
        client.responses.create(model="local", input=[USER])
    assert client.responses.create(model="local", input=[USER]).output_text == "Hello there"
    assert [r.path.rpartition("/v1/")[2] for r in provider.requests] == ["responses", "chat/completions", "responses"]


def test_missing_model_is_not_retried(client: OpenAI, provider: FakeProvider):
    refusal = {"error": {"message": "The model `x` does not exist.", "code": "model_not_found"}}
    provider.queue(Behaviour(status=404, raw=(orjson.dumps(refusal),)))
    with pytest.raises(openai.APIStatusError):
        client.responses.create(model="vllm/missing", input=[USER])
    assert len(provider.requests) == 1
