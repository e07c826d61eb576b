"""Requests that LiteLLM serves are charged like any others."""

from collections.abc import Iterator

import httpx
import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import StartProxy

# Claude's tokens cost a thousandth of a cent each, input and output.
PRICE = 0.00001


@pytest.fixture(scope="module")
def anthropic() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def engine(module_proxy: StartProxy, anthropic: FakeProvider) -> Ledgered:
    claude = {
        "model_name": "claude",
        "litellm_params": {"model": "anthropic/claude-sonnet-4-6", "api_base": anthropic.url, "api_key": "sk-ant"},
        "model_info": {"input_cost_per_token": PRICE, "output_cost_per_token": PRICE},
    }
    config = {
        "model_list": [claude, deployment(anthropic, "picture")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    gateway = Ledgered(module_proxy(config))
    assert _message(gateway, gateway.key()).status_code == 200  # the engine is up
    return gateway


def _message(gateway: Ledgered, key: str, path: str = "/v1/messages", **more: object) -> httpx.Response:
    body = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100, **more}
    return gateway.http.post(path, json=body, headers={"x-api-key": key})


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_answer_is_charged(engine: Ledgered, anthropic: FakeProvider, path: str, stream: bool) -> None:
    anthropic.always(Behaviour(usage=(100, 50)))
    key = engine.key(max_budget=1)
    answer = _message(engine, key, path, stream=stream)
    assert answer.status_code == 200
    [line] = engine.admin("/spend/logs", key=key)["data"]
    assert (line["prompt_tokens"], line["completion_tokens"], line["estimated"]) == (100, 50, False)
    assert engine.info(key)["spend"] == pytest.approx(150 * PRICE)
    assert ("x-litellm-response-cost" in answer.headers) is not stream


def test_a_message_over_the_budget_is_refused(engine: Ledgered) -> None:
    key = engine.key(max_budget=100 * PRICE)
    refused = _message(engine, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")


def test_counting_tokens_costs_nothing(engine: Ledgered) -> None:
    key = engine.key(max_budget=0)
    assert _message(engine, key, "/v1/messages/count_tokens").status_code == 200
    assert engine.info(key)["spend"] == 0


def test_images_without_a_price_per_image_are_refused_under_a_budget(engine: Ledgered) -> None:
    body = {"model": "picture", "prompt": "A cat", "n": 2}
    headers = {"x-api-key": engine.key(max_budget=1)}
    refused = engine.http.post("/v1/images/generations", json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
    assert "input_cost_per_image" in refused.json()["error"]["message"]


def test_a_file_with_unbounded_cost_is_refused_under_a_budget(engine: Ledgered) -> None:
    headers = {"x-api-key": engine.key(max_budget=1)}
    form = {"data": {"model": "picture"}, "files": {"file": ("a.wav", b"RIFF")}}
    refused = engine.http.post("/v1/audio/transcriptions", headers=headers, **form)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
