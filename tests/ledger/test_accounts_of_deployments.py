"""Providers, models and deployments have accounts: what is used up is passed over, and what answered is charged."""

import json
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, check_balance, query
from worker.core.ledger import alerts
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.expiry import expire
from worker.core.values import periods

PROVIDERS = Policy(
    accounts={
        "provider:openai": Limits(max_budget=1000, duration="1d"),
        "provider:azure": Limits(max_budget=2000, duration="1d"),
        "deployment:own": Limits(max_budget=500),
    }
)
EITHER = (("provider:openai",), ("provider:azure",))


async def test_a_used_up_provider_is_passed_over(store: Store) -> None:
    ledger = Ledger(store, PROVIDERS)
    key = await ledger.key()
    first = await ledger.admit(key, 900, candidates=EITHER)
    assert (first["ok"], first["limited"], first.get("exhausted")) == (True, True, None)
    second = await ledger.admit(key, 900, candidates=EITHER)
    assert (second["ok"], second["exhausted"]) == (True, ["provider:openai"])
    refused = await ledger.admit(key, 900, candidates=EITHER)
    assert (refused["status"], refused["code"]) == (429, "budget_exceeded")
    assert refused["soon"] in ("provider:openai", "provider:azure")
    assert (await ledger.admit(key, 900, candidates=(*EITHER, ())))["ok"]  # a deployment without a budget is left
    await check_balance(store)


async def test_a_request_is_charged_to_what_answered(store: Store) -> None:
    ledger = Ledger(store, PROVIDERS)
    first = await ledger.admit(None, 900, candidates=(("provider:openai", "deployment:own"), ("provider:azure",)))
    assert first["exhausted"] == ["deployment:own"]
    assert (await ledger.account("provider:openai")) == {}  # its only deployment is passed over
    second = await ledger.admit(None, 400, candidates=(("provider:openai", "deployment:own"), ("provider:azure",)))
    await ledger.settle(second["reservation"], 300, provider="openai", deployment="own")
    for account, spent in (("provider:openai", 300), ("deployment:own", 300), ("provider:azure", 0)):
        found = await ledger.account(account)
        assert (found["spent"], found["total"]) == (spent, spent), account
    assert (await ledger.account("provider:azure"))["reserved"] == 900
    rows = await query(store, "SELECT others, provider FROM ledger_requests WHERE id = ?", second["reservation"])
    assert [id for id, _ in json.loads(rows[0][0])] == ["deployment:own", "provider:openai"]
    assert rows[0][1] == "openai"
    await check_balance(store)


@pytest.mark.parametrize(("provider", "spent"), [(None, [300, 300]), ("", [0, 0]), ("azure", [0, 300])])
async def test_reports_of_every_container_are_understood(store: Store, provider: str | None, spent: list[int]) -> None:
    """An older container does not say what answered: every account that was reserved is charged."""
    ledger = Ledger(store, PROVIDERS)
    admitted = await ledger.admit(None, 900, candidates=EITHER)
    cost = 0 if provider == "" else 300
    assert await ledger.settle(admitted["reservation"], cost, provider=provider) == "settled"
    found = [await ledger.account(account) for account in ("provider:openai", "provider:azure")]
    assert [one["spent"] for one in found] == spent
    assert [(one["reserved"], one["parallel"]) for one in found] == [(0, 0), (0, 0)]
    await check_balance(store)


OF_MODELS = Policy(
    accounts={
        "model:gpt": Limits(max_budget=1000, duration="1d", rpm=2),
        "model:other": Limits(soft_budget=100, tpm=50, parallel=2),
    }
)
GPT_OR_OTHER = (("model:gpt",), ("model:other",))


async def test_a_request_takes_a_place_in_the_minute_of_the_model_that_answers(store: Store) -> None:
    ledger = Ledger(store, OF_MODELS)
    for _ in range(3):
        admitted = await ledger.admit(None, 100, tokens=50, candidates=GPT_OR_OTHER)
        assert (admitted["ok"], admitted.get("exhausted")) == (True, None)
        said = {"provider": "p", "answered_by": "an alias", "group": "other"}
        await ledger.settle(admitted["reservation"], 10, **said)
    gpt, other = [await ledger.account(name) for name in ("model:gpt", "model:other")]
    assert [gpt[name] for name in ("spent", "reserved", "requests", "tokens", "parallel")] == [0] * 5
    assert (other["spent"], other["requests"], other["tokens"], other["parallel"]) == (30, 3, 0, 0)
    await check_balance(store)


@pytest.mark.parametrize(
    ("answered", "asked", "alert"),
    [
        ("gpt", {"amount": 900}, ["budget_exhausted"]),
        ("gpt", {"amount": 1}, []),  # its requests a minute
        ("other", {"amount": 1, "tokens": 41}, ["soft_budget"]),  # its tokens a minute
    ],
)
async def test_a_model_that_is_used_up_is_passed_over(
    store: Store, answered: str, asked: dict[str, Any], alert: list[str]
) -> None:
    ledger, exhausted = Ledger(store, OF_MODELS), f"model:{answered}"
    for _ in range(1 if asked["amount"] > 1 else 2):
        admitted = await ledger.admit(None, 150, candidates=GPT_OR_OTHER)
        said = {"provider": "p", "answered_by": answered, "completion_tokens": 5}
        assert await ledger.settle(admitted["reservation"], 150, **said) == "settled"
    found = await ledger.admit(None, candidates=GPT_OR_OTHER, **asked)
    assert (found["ok"], found["exhausted"]) == (True, [exhausted])
    refused = await ledger.admit(None, candidates=((exhausted,),), **asked)
    assert (refused["ok"], refused["status"]) == (False, 429)
    assert f"model '{answered}'" in refused["message"]
    found = [(one["kind"], one["account"]) for one in await store.run(alerts.pending(ledger.now))]
    assert found == [(kind, exhausted) for kind in alert]
    await check_balance(store)


async def test_a_model_with_its_parallel_requests_running_is_passed_over(store: Store) -> None:
    ledger = Ledger(store, OF_MODELS)
    only = (("model:other",),)
    running = [await ledger.admit(None, 1, candidates=only) for _ in range(2)]
    assert (await ledger.admit(None, 1, candidates=GPT_OR_OTHER))["exhausted"] == ["model:other"]
    refused = await ledger.admit(None, 1, candidates=only)
    assert refused["soon"] == "model:other"
    await ledger.settle(running[0]["reservation"], 0, status=0)  # it was sent to nobody
    assert (await ledger.admit(None, 1, candidates=only))["ok"]
    await check_balance(store)


async def test_an_expired_request_is_charged_everywhere_until_its_report(store: Store) -> None:
    ledger = Ledger(store, PROVIDERS)
    admitted = await ledger.admit(None, 900, candidates=EITHER)
    ledger.now += 61_000
    assert (await store.run(expire(store.dialect, ledger.now)))["expired"] == 1
    assert (
        (await ledger.account("provider:openai"))["spent"] == (await ledger.account("provider:azure"))["spent"] == 900
    )
    await check_balance(store)
    ledger.now += periods.DAY
    assert (await ledger.admit(None, 100, candidates=EITHER))["ok"]  # a new period
    await ledger.settle(admitted["reservation"], 200, provider="azure")
    openai, azure = await ledger.account("provider:openai"), await ledger.account("provider:azure")
    assert (openai["spent"], openai["total"], azure["spent"], azure["total"]) == (0, 0, 0, 200)
    await check_balance(store)


async def test_without_a_price_a_providers_budget_refuses(store: Store) -> None:
    ledger = Ledger(store, PROVIDERS)
    refused = await ledger.admit(None, None, candidates=EITHER, unpriced="no price")
    assert (refused["status"], refused["code"]) == (400, "price_unknown")


async def test_a_used_up_provider_is_alerted_once(store: Store) -> None:
    ledger = Ledger(store, PROVIDERS)
    first = await ledger.admit(None, 900, candidates=EITHER)
    await ledger.settle(first["reservation"], 900, provider="openai")
    for _ in range(2):
        assert (await ledger.admit(None, 500, candidates=EITHER))["exhausted"] == ["provider:openai"]
    found = await store.run(alerts.pending(ledger.now))
    assert [(alert["kind"], alert["name"]) for alert in found] == [("budget_exhausted", "provider openai")]
