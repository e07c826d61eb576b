"""Requests that try to cost more than their reservation."""

import json
from typing import Any

import pytest

from tests.accounting.conftest import Start
from tests.fakes.behaviour import OK, Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment

IMAGES, COMPLETIONS = "/v1/images/generations", "/v1/completions"


def test_each_of_several_prompts_is_reserved(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    key = gateway.key(max_budget=0.01)
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "gpt", "prompt": ["Write."] * 50, "max_tokens": 100}
    refused = gateway.http.post(COMPLETIONS, json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    fake.always(Behaviour(usage=(100, 4000)))
    assert gateway.http.post(COMPLETIONS, json={**body, "prompt": ["Write."] * 40}, headers=headers).status_code == 200
    [line] = gateway.logs()
    assert 40 * 100 * OUT < line["reserved"] <= 0.01
    assert line["spend"] <= line["reserved"]


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (5000, 77), (-1, 77), ("5", 77)])
def test_an_output_limit_under_another_providers_name_is_not_raised(
    start: Start, fake: FakeProvider, asked: Any, sent: int
) -> None:
    gateway = start(environment={"DEFAULT_MAX_OUTPUT": "77"})
    key = gateway.key(max_budget=1)
    assert gateway.ask(key, n_predict=asked).status_code == 200
    assert (fake.last.body["max_tokens"], "n_predict" in fake.last.body) == (sent, False)
    assert gateway.logs()[0]["reserved"] >= 77 * OUT


def test_the_lower_of_two_limits_is_sent(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    assert gateway.ask(gateway.key(max_budget=1), max_tokens=9, n_predict=10_000).status_code == 200
    assert (fake.last.body["max_tokens"], "n_predict" in fake.last.body) == (9, False)


@pytest.mark.parametrize("count", ["20", 20.0, 0, -1, True, [2]])
def test_an_invalid_number_of_images_is_refused(start: Start, fake: FakeProvider, count: Any) -> None:
    gateway = start(models=[deployment(fake, "pictures", output_cost_per_image=0.04)])
    refused = gateway.http.post(
        IMAGES,
        json={"model": "pictures", "prompt": "a", "n": count},
        headers={"authorization": f"Bearer {gateway.key(max_budget=1)}"},
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize("fields", [{"models": ["openai/gpt-5-pro"], "route": "fallback"}, {"route": "fallback"}])
def test_models_for_a_fallback_at_the_provider_are_refused(
    start: Start, fake: FakeProvider, fields: dict[str, Any]
) -> None:
    gateway = start()
    refused = gateway.ask(gateway.key(models=["gpt"]), **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(fields)))
    assert not fake.requests


UNREADABLE = [
    {"prompt_tokens": None, "completion_tokens": None},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": "10", "completion_tokens": "5"},
    {"total_tokens": 50},
    {"prompt_tokens": 10**15, "completion_tokens": 10**15},
]


@pytest.mark.parametrize("said", UNREADABLE, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_usage_is_estimated(start: Start, fake: FakeProvider, said: dict[str, Any], stream: bool) -> None:
    gateway = start()
    text = "one two three four five " * 20
    if stream:
        chunk = {"choices": [{"index": 0, "delta": {"content": text}}], "usage": said}
        raw = (b"data: " + json.dumps(chunk).encode() + b"\n\n", b"data: [DONE]\n\n")
    else:
        raw = (json.dumps({"choices": [{"message": {"content": text}}], "usage": said}).encode(),)
    fake.always(Behaviour(raw=raw))
    key = gateway.key(max_budget=1)
    assert gateway.ask(key, stream=stream).status_code == 200
    [line] = gateway.logs()
    assert line["estimated"] is True
    assert line["prompt_tokens"] > 0
    assert 100 <= line["completion_tokens"] <= 300
    assert 0 < line["spend"] <= line["reserved"]


def test_usage_that_counts_only_the_prompt_is_accepted(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    body = {"choices": [{"message": {"content": "one two three"}}], "usage": {"prompt_tokens": 7}}
    fake.always(Behaviour(raw=(json.dumps(body).encode(),)))
    assert gateway.ask().status_code == 200
    [line] = gateway.logs()
    assert (line["prompt_tokens"], line["estimated"]) == (7, True)
    assert 3 <= line["completion_tokens"] <= 9
    assert line["spend"] == pytest.approx(7 * IN + line["completion_tokens"] * OUT)


def test_a_client_timeout_is_charged_to_that_client_only(start: Start, fake: FakeProvider) -> None:
    """A timeout set by the client says nothing about the provider, which may still be working."""
    gateway = start(more={"disable_cooldowns": False, "allowed_fails": 0, "cooldown_time": 60})
    fake.always(Behaviour(delay=3))
    key = gateway.key(max_budget=1)
    for stream in (False, True):
        late = gateway.ask(key, max_tokens=100, timeout=0.2, stream=stream)
        assert (late.status_code, late.json()["error"]["type"]) == (504, "timeout_error")
    for line in gateway.logs():
        assert (line["status"], line["estimated"]) == (504, True)
        assert line["spend"] == line["reserved"] >= 100 * OUT
    fake.always(OK)
    assert gateway.ask(key).status_code == 200


def test_a_provider_that_exceeds_its_own_timeout_costs_nothing(start: Start, fake: FakeProvider) -> None:
    slow = deployment(fake, "gpt")
    slow["litellm_params"]["timeout"] = 0.2
    gateway = start(models=[slow])
    fake.always(Behaviour(delay=3))
    assert gateway.ask(gateway.key(max_budget=1)).status_code == 504
    [line] = gateway.logs()
    assert (line["status"], line["spend"]) == (504, 0)
