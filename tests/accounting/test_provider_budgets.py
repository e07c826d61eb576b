"""Limits of providers, models and deployments: routing passes over what is used up, and the next deployment answers."""

from typing import Any

import pytest

from tests.accounting.conftest import Start
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment

COST = 20 * IN + 10 * OUT
LIMIT = 10


def models(fake: FakeProvider, **first: Any) -> list[dict[str, Any]]:
    """`gpt` at two deployments of one provider, and `other`, its fallback at another provider."""
    own = deployment(fake, "gpt", "one")
    own["litellm_params"] |= first
    own["model_info"]["id"] = "one"
    other = deployment(fake, "other", "two")
    other["litellm_params"]["model"] = "groq/two"
    return [own, other]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("whose", ["provider", "deployment"])
def test_the_fallback_answers_once_a_budget_is_used_up(start: Start, fake: FakeProvider, whose: str, path: str) -> None:
    fake.always(Behaviour(usage=(20, 10)))
    budget = {"max_budget": COST * 2.5, "budget_duration": "1d"} if whose == "deployment" else {}
    providers = {"openai": {"budget_limit": COST * 2.5, "time_period": "1d"}} if whose == "provider" else None
    routing = {"fallbacks": [{"gpt": ["other"]}], **({"provider_budget_config": providers} if providers else {})}
    gateway = start(models=models(fake, **budget), more=routing)
    key = gateway.key()
    for _ in range(4):
        assert gateway.ask(key, path, max_tokens=LIMIT).status_code == 200
        gateway.settled()
    lines = list(reversed(gateway.logs()))
    assert [line["answered_by"] for line in lines] == ["gpt", "gpt", "other", "other"]
    assert [line["provider"] for line in lines] == ["openai", "openai", "groq", "groq"]
    found = gateway.admin("/spend/activity", group_by="provider")["groups"]
    assert sorted((group["group"], group["requests"]) for group in found) == [("groq", 2), ("openai", 2)]


@pytest.mark.parametrize("asked", ["gpt", "an-alias", "vendor/gpt"])
def test_the_fallback_answers_once_a_model_is_used_up(start: Start, fake: FakeProvider, asked: str) -> None:
    """Whichever name of the model the client uses."""
    fake.always(Behaviour(usage=(20, 10)))
    found = models(fake)
    if "/" in asked:
        found[0]["model_name"], found[0]["litellm_params"]["model"] = "vendor/*", "openai/*"
    group = found[0]["model_name"]
    routing = {"model_group_alias": {"an-alias": group}} if asked == "an-alias" else {}
    limit = {"budget_limit": COST * 2.5, "time_period": "1d"}
    more = {**routing, "fallbacks": [{asked: ["other"]}, {group: ["other"]}], "model_max_budget": {group: limit}}
    gateway = start(models=found, more=more)
    key = gateway.key()
    for _ in range(4):
        assert gateway.ask(key, model=asked, max_tokens=LIMIT).status_code == 200
        gateway.settled()
    lines = list(reversed(gateway.logs()))
    assert [line["answered_by"] for line in lines] == [asked, asked, "other", "other"]


def test_a_model_without_a_fallback_is_refused_by_its_name(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=models(fake), more={"model_max_budget": {"gpt": {"max_parallel_requests": 0}}})
    refused = gateway.ask(gateway.key(), max_tokens=LIMIT)
    assert (refused.status_code, "model 'gpt'" in refused.text, len(fake.requests)) == (429, True, 0)


def test_without_a_deployment_left_it_is_a_429(start: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(20, 10)))
    gateway = start(models=models(fake), more={"provider_budget_config": {"openai": {"budget_limit": COST * 1.5}}})
    key = gateway.key()
    assert gateway.ask(key, max_tokens=LIMIT).status_code == 200
    gateway.settled()
    refused = gateway.ask(key, max_tokens=LIMIT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert "openai" in refused.text
    assert gateway.ask(key, model="other", max_tokens=LIMIT).status_code == 200
    assert len(fake.requests) == 2


def test_what_failed_is_charged_nothing(start: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(20, 10)))
    fake.always(Behaviour(status=500), model="one")
    providers = {name: {"budget_limit": 1} for name in ("openai", "groq")}
    routing = {"fallbacks": [{"gpt": ["other"]}], "provider_budget_config": providers}
    gateway = start(models=models(fake), more=routing)
    assert gateway.ask(gateway.key(), max_tokens=LIMIT).status_code == 200
    gateway.settled()
    found = gateway.admin("/spend/activity", group_by="provider")["groups"]
    assert [(group["group"], group["spend"]) for group in found] == [("groq", pytest.approx(COST))]
