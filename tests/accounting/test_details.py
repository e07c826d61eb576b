"""Tokens with separate prices, from the provider's usage to the charge."""

import orjson
import pytest

from tests.accounting.conftest import Start
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment

# US dollars per token: input, output, cache read, reasoning.
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
def test_cached_and_reasoning_tokens_are_charged_at_their_own_prices(
    start: Start, fake: FakeProvider, stream: bool
) -> None:
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


def test_without_their_own_prices_they_cost_the_same_as_other_tokens(start: Start, fake: FakeProvider) -> None:
    fake.always(DETAILED)
    plain = {name: PRICES[name] for name in ("input_cost_per_token", "output_cost_per_token")}
    gateway = start(models=[deployment(fake, "gpt", **plain)])
    assert gateway.ask(max_tokens=500).status_code == 200
    assert gateway.logs()[0]["spend"] == pytest.approx(1000 * 10e-6 + 300 * 20e-6)


# LiteLLM's prices: usage as the provider reports it, and its cost in US dollars.
LONG = {"prompt_tokens": 300_000, "completion_tokens": 1000}
SHORT = {"prompt_tokens": 10_000, "completion_tokens": 1000}


@pytest.mark.parametrize(
    ("model", "tier", "used", "cost"),
    [
        ("openai/gpt-5", "flex", SHORT, 10_000 * 1.25e-6 + 1000 * 10e-6),
        ("openai/gpt-6-astra", "ultrafast", SHORT, 10_000 * 60e-6 + 1000 * 300e-6),
        ("openai/gpt-6-astra", "ULTRAFAST", SHORT, 10_000 * 60e-6 + 1000 * 300e-6),
        ("openai/gemini-2.5-pro", "priority", LONG, 300_000 * 4.5e-6 + 1000 * 27e-6),
        ("openai/gemini-2.5-flash-image", None, {**SHORT, "completion_tokens_details": {"image_tokens": 1000}}, 0.033),
        ("openai/gpt-5", None, {**SHORT, "total_tokens": 16_000}, 10_000 * 1.25e-6 + 6000 * 10e-6),
    ],
)
def test_usage_is_charged_at_litellms_prices(
    start: Start, fake: FakeProvider, model: str, tier: str | None, used: dict[str, object], cost: float
) -> None:
    said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}], "usage": used}
    fake.always(Behaviour(raw=(orjson.dumps(said),)))
    params = {"model": model, "api_base": fake.openai_base, "api_key": "k"}
    gateway = start(models=[{"model_name": "gpt", "litellm_params": params}])
    asked = {} if tier is None else {"service_tier": tier}
    reply = gateway.ask(max_tokens=6000, **asked)
    assert reply.status_code == 200, reply.text
    assert gateway.logs()[0]["spend"] == pytest.approx(cost)


def test_a_service_tier_set_by_the_config_is_charged(start: Start, fake: FakeProvider) -> None:
    said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}], "usage": SHORT}
    fake.always(Behaviour(raw=(orjson.dumps(said),)))
    params = {"model": "openai/gpt-5", "api_base": fake.openai_base, "api_key": "k", "service_tier": "priority"}
    gateway = start(models=[{"model_name": "gpt", "litellm_params": params}])
    assert gateway.ask(max_tokens=6000).status_code == 200
    assert fake.last.body["service_tier"] == "priority"
    assert gateway.logs()[0]["spend"] == pytest.approx(10_000 * 2.5e-6 + 1000 * 20e-6)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_an_hour_in_claudes_cache_costs_twice_the_input_price(start: Start, fake: FakeProvider, path: str) -> None:
    kept = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100_000}
    said = {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_creation_input_tokens": 100_000,
            "cache_creation": kept,
        },
    }
    fake.always(Behaviour(raw=(orjson.dumps(said),)))
    plain = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "cache_creation_input_token_cost": 1.25e-6}
    params = {"model": "anthropic/claude-mine", "api_base": fake.url, "api_key": "k"}
    gateway = start(models=[{"model_name": "gpt", "litellm_params": params, "model_info": plain}])
    reply = gateway.ask(path=path, max_tokens=10)
    assert reply.status_code == 200, reply.text
    assert gateway.logs()[0]["spend"] == pytest.approx(10e-6 + 100_000 * 2e-6 + 2e-6)
