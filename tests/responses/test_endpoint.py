"""`/v1/responses` through the engine: nothing is stored, and what one request names costs nobody a deployment."""

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.fakes import FakeProvider
from tests.fakes.formats.responses import ENCRYPTED
from tests.processes import StartProxy

USER: Any = {"role": "user", "content": "Hello there"}
REFERENCE: Any = {"type": "item_reference", "id": "rs_0123456789"}


@pytest.fixture(scope="module")
def client(module_proxy: StartProxy, providers: FakeProvider) -> OpenAI:
    at_fake = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    proxy = module_proxy(
        {
            "model_list": [
                {"model_name": "thinker", "litellm_params": {"model": "openai/gpt-5.1", **at_fake}},
                {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", **at_fake}},
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
        environment={"ENGINE_START_TIMEOUT": "120"},  # where the machine is busy
    )
    return proxy.client(timeout=120)


@pytest.mark.parametrize("model", ["thinker", "gpt", "claude"])
def test_a_reference_to_a_stored_item_is_a_clear_refusal(client: OpenAI, provider: FakeProvider, model: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=model, input=[USER, REFERENCE])
    assert caught.value.param == "input"
    assert not provider.requests


def test_the_reasoning_comes_with_the_answer_and_can_be_sent_back(client: OpenAI, provider: FakeProvider):
    first = client.responses.create(model="thinker", input=[USER])
    assert provider.last.body["store"] is False
    (reasoning,) = [item for item in first.output if item.type == "reasoning"]
    assert reasoning.encrypted_content == ENCRYPTED
    more: Any = [USER, *(item.model_dump(exclude_none=True) for item in first.output), USER]
    assert client.responses.create(model="thinker", input=more).output_text == "Hello there"


def test_a_model_that_does_not_reason_is_not_asked_for_it(client: OpenAI, provider: FakeProvider):
    assert client.responses.create(model="gpt", input=[USER]).output_text == "Hello there"
    assert "include" not in provider.last.body


def test_reasoning_without_its_content_does_not_break_the_conversation(client: OpenAI, provider: FakeProvider):
    named: Any = {"type": "reasoning", "id": "rs_0123456789", "summary": []}
    assert client.responses.create(model="thinker", input=[USER, named, USER]).output_text == "Hello there"


def test_an_item_that_the_provider_does_not_know_costs_nobody_the_deployment(client: OpenAI, provider: FakeProvider):
    """Without an id that begins as those of OpenAI do, it goes on as it is."""
    unknown: Any = {"type": "reasoning", "id": "other_0123456789", "summary": []}
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="thinker", input=[USER, unknown])
    assert 400 <= caught.value.status_code < 500
    assert client.responses.create(model="thinker", input=[USER]).output_text == "Hello there"
