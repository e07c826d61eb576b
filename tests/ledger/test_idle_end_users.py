"""Accounts of end users that nobody uses any more are deleted, and no others."""

from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, check_balance, query
from worker.core.ledger import spend
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.expiry import expire, forget_end_users
from worker.core.values import periods

EACH_DAY = Policy(end_user_budget="each")


async def somebody_else(ledger: Ledger) -> None:
    """A request without an end user is settled."""
    await ledger.settle((await ledger.admit(None, 1))["reservation"], 1)


@pytest.mark.parametrize("opened", [False, True])
async def test_a_clock_that_is_ahead_deletes_no_account_of_a_current_period(store: Store, opened: bool) -> None:
    """Neither when nothing has been settled since, nor when a request has been admitted meanwhile."""
    ledger = Ledger(store, EACH_DAY)
    await ledger.budget("each", max_budget=100, budget_duration="1d")
    right = ledger.now
    await ledger.settle((await ledger.admit(None, 60, end_user="7"))["reservation"], 60)
    ledger.now += 400 * periods.DAY
    if opened:
        await ledger.admit(None, 1)
    assert (await store.run(forget_end_users(store.dialect, EACH_DAY, ledger.now)))["deleted"] == 0
    ledger.now = right
    assert (await ledger.admit(None, 60, end_user="7"))["status"] == 429


async def test_in_a_ledger_without_settled_requests_nothing_is_deleted(store: Store) -> None:
    ledger = Ledger(store, EACH_DAY)
    await ledger.budget("each", max_budget=100, budget_duration="1d")
    await ledger.settle((await ledger.admit(None, 60, end_user="7"))["reservation"], 60)
    await store.run(spend.trim_old(1, ledger.now + 2 * periods.DAY, 100))
    assert await query(store, "SELECT COUNT(*) FROM ledger_requests") == [(0,)]
    ledger.now += 9 * periods.DAY
    assert (await store.run(forget_end_users(store.dialect, EACH_DAY, ledger.now)))["deleted"] == 0


async def test_accounts_of_end_users_that_nobody_uses_any_more_are_deleted(store: Store) -> None:
    ledger = Ledger(store, EACH_DAY)
    await ledger.budget("each", max_budget=100, budget_duration="1d")
    await ledger.owner("end_user:known", max_budget=100)
    key = await ledger.key(user_id="end_user:x")
    made = {}
    for end_user in ("idle", "late", "running", "known", "week"):
        ledger.now += 3 * periods.DAY if end_user == "week" else 1000
        made[end_user] = (await ledger.admit(key, 60, end_user=end_user))["reservation"]
        if end_user not in ("late", "running"):
            await ledger.settle(made[end_user], 50)
    await store.run(expire(store.dialect, ledger.now, 1))  # the first of two
    ledger.now += 6 * periods.DAY
    await somebody_else(ledger)
    assert (await store.run(forget_end_users(store.dialect, ledger.policy, ledger.now)))["deleted"] == 2
    kept = await query(store, "SELECT id FROM ledger_accounts WHERE id LIKE '%end_user:%' ORDER BY id")
    assert [id for (id,) in kept] == ["end_user:known", "end_user:running", "end_user:week", "user:end_user:x"]
    assert await ledger.settle(made["late"], 20) == "settled"
    assert await ledger.settle(made["running"], 30) == "settled"
    assert (await ledger.info(key))["spend"] == 200e-9
    await check_balance(store, deleted={"end_user:idle", "end_user:late"})
    assert [(await ledger.admit(key, 100, end_user="idle"))["ok"] for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        (Policy(each_end_user=Limits(max_budget=100)), {}),
        (EACH_DAY, {"max_budget": 100}),
        (EACH_DAY, {"rpm_limit": 3, "budget_duration": "1d"}),
        (EACH_DAY, None),
        (Policy(), {}),
    ],
)
async def test_end_users_whose_budget_has_no_period_are_kept(
    store: Store, policy: Policy, budget: dict[str, Any] | None
) -> None:
    """What they have spent counts for good."""
    ledger = Ledger(store, Policy(each_end_user=Limits(max_budget=100)))
    if budget:
        await ledger.budget("each", **budget)
    admitted = await ledger.admit(None, 60, end_user="7")
    await ledger.settle(admitted["reservation"], 60)
    ledger.now += 400 * periods.DAY
    await somebody_else(ledger)
    assert (await store.run(forget_end_users(store.dialect, policy, ledger.now)))["deleted"] == 0
    assert (await ledger.account("end_user:7"))["spent"] == 60


async def test_end_users_are_deleted_in_small_batches(store: Store) -> None:
    ledger = Ledger(store, EACH_DAY)
    await ledger.budget("each", max_budget=100, budget_duration="1d")
    for number in range(5):
        await ledger.settle((await ledger.admit(None, 1, end_user=f"{number}"))["reservation"], 1)
    ledger.now += 9 * periods.DAY
    await somebody_else(ledger)
    found, after = [], None
    while after != "":
        result = await store.run(forget_end_users(store.dialect, EACH_DAY, ledger.now, after or "", 2))
        after = result["after"]
        found.append(result["deleted"])
    assert found == [2, 2, 1, 0]
    assert await query(store, "SELECT id FROM ledger_accounts WHERE id LIKE 'end_user:%'") == []


@pytest.mark.parametrize("before", [None, "30d"])
async def test_who_has_just_spent_is_kept_while_the_period_is_a_shorter_one(store: Store, before: str | None) -> None:
    """A duration that is changed by mistake, and changed back, gives nobody a budget anew."""
    ledger = Ledger(store, EACH_DAY)
    ledger.now = periods.start("30d", ledger.now) + 20 * periods.DAY
    await ledger.budget("each", max_budget=100, budget_duration=before)
    await ledger.settle((await ledger.admit(None, 100, end_user="7"))["reservation"], 100)
    await ledger.budget("each", max_budget=100, budget_duration="1h")
    ledger.now += 2 * periods.HOUR
    await somebody_else(ledger)
    assert (await store.run(forget_end_users(store.dialect, EACH_DAY, ledger.now)))["deleted"] == 0
    await ledger.budget("each", max_budget=100, budget_duration=before)
    assert not (await ledger.admit(None, 1, end_user="7"))["ok"]
