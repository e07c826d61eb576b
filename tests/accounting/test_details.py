"""Tokens with prices of their own, out of a provider's usage and into the bill."""

import orjson
import pytest

from tests.accounting.conftest import Start, deployment
from tests.fakes import Behaviour, FakeProvider

# US dollars a token: in, out, read from a cache, reasoned.
PRICES = {
    "input_cost_per_token": 10e-6,
    "output_cost_per_token": 20e-6,
    "cache_read_input_token_cost": 1e-6,
    "output_cost_per_reasoning_token": 40e-6,
}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 300,
    "total_tokens": 1300,
    "prompt_tokens_details": {"cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 200},
}
# 400 at 10, 600 at 1, 100 at 20 and 200 at 40 millionths of a dollar.
COST = (400 * 10 + 600 * 1 + 100 * 20 + 200 * 40) / 1e6


def answer(*, stream: bool) -> Behaviour:
    shared = {"id": "c", "created": 1, "model": "gpt"}
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        return Behaviour(
            raw=(orjson.dumps({**shared, "object": "chat.completion", "choices": [choice], "usage": USAGE}),)
        )
    chunk = {**shared, "object": "chat.completion.chunk"}
    said = {**chunk, "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    events = [orjson.dumps(said), orjson.dumps({**chunk, "choices": [], "usage": USAGE}), b"[DONE]"]
    return Behaviour(raw=tuple(b"data: " + event + b"\n\n" for event in events))


@pytest.mark.parametrize("stream", [False, True])
def test_cached_and_reasoning_tokens_have_their_prices(start: Start, fake: FakeProvider, stream: bool) -> None:
    fake.always(answer(stream=stream))
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
    fake.always(answer(stream=False))
    plain = {name: PRICES[name] for name in ("input_cost_per_token", "output_cost_per_token")}
    gateway = start(models=[deployment(fake, "gpt", **plain)])
    assert gateway.ask(max_tokens=500).status_code == 200
    assert gateway.logs()[0]["spend"] == pytest.approx(1000 * 10e-6 + 300 * 20e-6)
