"""Requests whose output limit alone does not fit are admitted with a lower one."""

from collections.abc import AsyncIterator

import pytest

from container.stores import SqliteStore
from tests.ledger.support import Ledger, check_balance, header
from worker.core.ledger.accounts import Limits, Policy

# 100 nano-dollars and tokens for the prompt, and one for each token of the output.
STEPS = [(1024, 1124, 1124), (32_000, 32_100, 32_100)]
WANTED = {"tokens": 32_100, "steps": STEPS}


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    store = SqliteStore(":memory:")
    await store.open()
    yield Ledger(store)
    await check_balance(store)
    await store.close()


async def test_the_limit_is_lowered_to_what_is_left(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=40_000e-9)
    whole = await ledger.admit(key, 32_100, **WANTED)
    assert header(whole, "x-litellm-output-limit") is None
    assert "output_limit" not in whole
    cut = await ledger.admit(key, 32_100, **WANTED)
    assert (cut["output_limit"], cut["amount"], header(cut, "x-litellm-output-limit")) == (7800, 7900, "7800")
    info = await ledger.info(key)
    assert (info["reserved"], info["running_requests"]) == (40_000e-9, 2)
    await ledger.settle(cut["reservation"], 7900)
    assert (await ledger.info(key))["spend"] == 7900e-9


async def test_below_the_lowest_limit_a_request_is_refused(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1123e-9)
    refused = await ledger.admit(key, 32_100, **WANTED)
    assert (refused["status"], refused["code"]) == (429, "budget_exceeded")
    assert "soon" not in refused
    assert "1024 tokens" in refused["message"]


async def test_only_running_requests_keep_out_what_would_fit_with_the_lowest_limit(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=2000e-9)
    await ledger.admit(key, 1000)
    assert (await ledger.admit(key, 32_100, **WANTED))["soon"]


async def test_a_key_can_keep_its_output_limits(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=10_000e-9, keep_output_limit=True)
    refused = await ledger.admit(key, 32_100, **WANTED)
    assert (refused["status"], refused["code"]) == (429, "budget_exceeded")
    assert (await ledger.admit(key, 10_000, tokens=10_000))["ok"]


@pytest.mark.parametrize("whose", ["user", "everyone"])
async def test_every_budget_counts(ledger: Ledger, whose: str) -> None:
    small = Limits(max_budget=5100)
    ledger.policy = Policy(each_user=small) if whose == "user" else Policy(everyone=small)
    key = await ledger.key(user_id="ada", max_budget=1)
    assert (await ledger.admit(key, 32_100, **WANTED))["output_limit"] == 5000


async def test_without_a_limit_on_money_or_tokens_nothing_is_lowered(ledger: Ledger) -> None:
    assert "output_limit" not in await ledger.admit(await ledger.key(rpm_limit=3), 32_100, **WANTED)


async def test_a_limit_that_fits_into_no_minute_is_lowered(ledger: Ledger) -> None:
    key = await ledger.key(tpm_limit=20_100)
    first = await ledger.admit(key, 5000, tokens=5000)
    cut = await ledger.admit(key, 32_100, **WANTED)
    assert (cut["output_limit"], header(cut, "x-ratelimit-remaining-tokens")) == (15_000, "0")
    await ledger.settle(first["reservation"], 5000)


async def test_a_limit_that_fits_into_a_minute_waits_for_the_next_one(ledger: Ledger) -> None:
    key = await ledger.key(tpm_limit=40_000)
    await ledger.admit(key, 32_100, **WANTED)
    refused = await ledger.admit(key, 32_100, **WANTED)
    assert (refused["status"], refused["code"], refused["retry_after"]) == (429, "rate_limit_exceeded", 30)


async def test_without_a_limit_of_its_own_a_request_takes_a_quarter_of_a_minute(ledger: Ledger) -> None:
    """It is sent with its model's maximum, which it will rarely use."""
    key = await ledger.key(tpm_limit=40_400)
    found = [await ledger.admit(key, 32_100, **WANTED, without_limit=True) for _ in range(5)]
    assert [one.get("output_limit") for one in found] == [10_000, 10_000, 10_000, 10_000, None]
    assert not found[-1]["ok"]


async def test_a_lowered_request_still_has_to_fit_the_other_limits(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=5000e-9, max_parallel_requests=1)
    assert (await ledger.admit(key, 100))["ok"]
    assert (await ledger.admit(key, 32_100, **WANTED))["code"] == "rate_limit_exceeded"
