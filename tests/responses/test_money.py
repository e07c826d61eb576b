"""What a virtual key under a budget pays for chat that goes to the Responses API, and how long its answers may be."""

import httpx
import openai
import pytest
from openai import OpenAI

from tests.conversation import HELLO
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

ADMIN = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def limited(gateway: RunningProxy) -> OpenAI:
    made = httpx.post(f"{gateway.url}/key/generate", json={"max_budget": 10}, headers=ADMIN).json()
    return gateway.client(api_key=made["key"])


def spent(gateway: RunningProxy, client: OpenAI) -> float:
    info = httpx.get(f"{gateway.url}/key/info", params={"key": client.api_key}, headers=ADMIN).json()
    return info["info"]["spend"]


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_charged_by_their_prices(
    gateway: RunningProxy, limited: OpenAI, provider: FakeProvider, stream: bool
):
    provider.always(Behaviour(usage=(1000, 500), usage_details=(400, 200)))
    answer = limited.chat.completions.create(model="priced", messages=HELLO, max_tokens=600, stream=stream)
    assert list(answer)
    assert spent(gateway, limited) == pytest.approx(600 * 0.0001 + 400 * 0.00001 + 500 * 0.001)


def test_a_request_without_a_limit_gets_the_one_that_was_set_aside_for(limited: OpenAI, provider: FakeProvider):
    limited.chat.completions.create(model="priced", messages=HELLO)
    assert provider.last.body["max_output_tokens"] == 4096


def test_a_limit_is_not_raised_beyond_what_was_set_aside(limited: OpenAI, provider: FakeProvider):
    """That the model is served by the Responses API was not known when that happened."""
    provider.queue(failing(400, message="Please use /v1/responses instead."))
    with pytest.raises(openai.BadRequestError) as caught:
        limited.chat.completions.create(model="priced/house", messages=HELLO, max_tokens=2)
    assert caught.value.param == "max_tokens"
    assert len(provider.requests) == 1
