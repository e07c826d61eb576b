"""Tokens with prices of their own, out of a provider's usage and into the bill."""

import pytest

from tests.accounting.conftest import Start
from tests.fakes import Behaviour, FakeProvider
from tests.money import deployment

# US dollars a token: in, out, read from a cache, reasoned.
PRICES = {
    "input_cost_per_token": 10e-6,
    "output_cost_per_token": 20e-6,
    "cache_read_input_token_cost": 1e-6,
    "output_cost_per_reasoning_token": 40e-6,
}
DETAILED = Behaviour(usage=(1000, 300), usage_details=(600, 200))
# 400 at 10, 600 at 1, 100 at 20 and 200 at 40 millionths of a dollar.
COST = (400 * 10 + 600 * 1 + 100 * 20 + 200 * 40) / 1e6


@pytest.mark.parametrize("stream", [False, True])
def test_cached_and_reasoning_tokens_have_their_prices(start: Start, fake: FakeProvider, stream: bool) -> None:
    fake.always(DETAILED)
    gateway = start(models=[deployment(fake, "gpt", **PRICES)])
    key = gateway.key(max_budget=1)
    reply = gateway.ask(key, stream=stream, max_tokens=500)
    assert reply.status_code == 200
    [line] = gateway.logs()
    counted = [line[f"{kind}_tokens"] for kind in ("prompt", "completion", "cached", "reasoning")]
    assert counted == [1000, 300, 600, 200]
    assert round(line["spend"] * 1e9) == round(COST * 1e9)
    assert round(gateway.info(key)["spend"] * 1e9) == round(COST * 1e9)
    if not stream:
        assert float(reply.headers["x-litellm-response-cost"]) == pytest.approx(COST)


def test_without_prices_of_their_own_they_cost_what_others_do(start: Start, fake: FakeProvider) -> None:
    fake.always(DETAILED)
    plain = {name: PRICES[name] for name in ("input_cost_per_token", "output_cost_per_token")}
    gateway = start(models=[deployment(fake, "gpt", **plain)])
    assert gateway.ask(max_tokens=500).status_code == 200
    assert gateway.logs()[0]["spend"] == pytest.approx(1000 * 10e-6 + 300 * 20e-6)
