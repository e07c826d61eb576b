"""Charges and output limits of a budgeted virtual key for chat that uses the Responses API."""

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
def test_tokens_are_charged_at_their_prices(
    gateway: RunningProxy, limited: OpenAI, provider: FakeProvider, stream: bool
):
    provider.always(Behaviour(usage=(1000, 500), usage_details=(400, 200)))
    answer = limited.chat.completions.create(model="priced", messages=HELLO, max_tokens=600, stream=stream)
    assert list(answer)
    assert spent(gateway, limited) == pytest.approx(600 * 0.0001 + 400 * 0.00001 + 500 * 0.001)


def test_request_without_a_limit_gets_the_reserved_one(limited: OpenAI, provider: FakeProvider):
    limited.chat.completions.create(model="priced", messages=HELLO)
    assert 0 < provider.last.body["max_output_tokens"] * 0.001 <= 10  # the budget


def test_limit_is_not_raised_above_the_reserved_one(limited: OpenAI, provider: FakeProvider):
    """At reservation time it was not yet known that the model uses the Responses API."""
    provider.queue(failing(400, message="Please use /v1/responses instead."))
    with pytest.raises(openai.BadRequestError) as caught:
        limited.chat.completions.create(model="priced/house", messages=HELLO, max_tokens=2)
    assert caught.value.param == "max_tokens"
    assert len(provider.requests) == 1
