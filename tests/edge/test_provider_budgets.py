"""Limits of providers and models at the edge: quoted there or in the container, what is used up is passed over."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.conftest import StartEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment

COST = 10 * IN + 5 * OUT


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        one.always(Behaviour(usage=(10, 5)))
        yield one


def started(start_edge: StartEdge, fake: FakeProvider, budget: float, **more: Any) -> Money:
    other: dict[str, Any] = deployment(fake, "other", "two")
    other["litellm_params"]["model"] = "groq/two"
    settings = {
        "num_retries": 0,
        "fallbacks": [{"gpt": ["other"]}],
        "provider_budget_config": {"openai": {"budget_limit": budget, "time_period": "1d"}},
        **more,
    }
    return Money(start_edge({"model_list": [deployment(fake, "gpt", "one"), other], "router_settings": settings}))


def test_the_fallback_answers_once_a_providers_budget_is_used_up(start_edge: StartEdge, fake: FakeProvider) -> None:
    money = started(start_edge, fake, COST * 8)
    key = money.key()
    answered: list[str] = []
    for number in range(1, 12):
        assert money.ask(key, max_tokens=5).status_code == 200
        answered = [line["provider"] for line in money.settled(key, number)]
    assert "groq" in answered
    spent = {group["group"]: group["spend"] for group in money.admin("/spend/activity", group_by="provider")["groups"]}
    assert spent["openai"] <= COST * 8
    assert spent["openai"] + spent["groq"] == pytest.approx(11 * COST)


def test_a_parked_request_passes_over_a_provider_that_cannot_pay_for_it(
    start_edge: StartEdge, fake: FakeProvider
) -> None:
    money = started(start_edge, fake, COST)
    key = money.key()
    assert money.ask(key, content="x" * 70_000, max_tokens=5).status_code == 200
    (line,) = money.settled(key)
    assert (line["provider"], line["answered_by"]) == ("groq", "other")


def test_the_fallback_answers_once_a_model_is_used_up(start_edge: StartEdge, fake: FakeProvider) -> None:
    """Whichever name of the model the client uses."""
    limits = {"gpt": {"budget_limit": COST * 8, "time_period": "1d"}, "other": {"budget_limit": 1}}
    money = started(start_edge, fake, 1, model_max_budget=limits, model_group_alias={"alias": "gpt"})
    key = money.key()
    lines: list[dict[str, Any]] = []
    for number in range(1, 12):
        assert money.ask(key, model="gpt" if number % 2 else "alias", max_tokens=5).status_code == 200
        lines = money.settled(key, number)
    answered = [line["answered_by"] for line in reversed(lines)]
    assert set(answered) == {"gpt", "alias", "other"}
    assert answered.index("other") >= 4
    assert sum(line["spend"] for line in lines if line["answered_by"] != "other") <= COST * 8
