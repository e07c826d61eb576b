"""Wall clocks that jump: every period's budget holds, and no key stays locked out for as long as the clock was
wrong.
"""

from collections.abc import Awaitable, Callable

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, check_balance, header, query
from worker.core.ledger.accounts import Policy
from worker.core.ledger.expiry import expire
from worker.core.ledger.settle import Report
from worker.core.values import periods

YEAR = 365 * periods.DAY
Admit = Callable[..., Awaitable[dict]]


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


@pytest.fixture(params=["alone", "with another key's request"])
async def admit(request: pytest.FixtureRequest, ledger: Ledger) -> Admit:
    """Admits one request. With `alone` unset, a second, refused request is in the batch: a batch with one key reads its
    accounts differently than a batch with several.
    """
    other = await ledger.key(models=["another-model"])

    async def in_company(key: str | None, amount: int | None = 0, **fields) -> dict:
        _, (result, _) = await ledger.batch((), [ledger.request(key, amount, **fields), ledger.request(other)])
        return result

    return ledger.admit if request.param == "alone" else in_company


async def test_a_clock_that_was_ahead_does_not_change_what_a_period_has_spent(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(max_budget=1e-6, budget_duration="1d", user_id="ada")
    today, running = await admit(key, 500), await admit(key, 300)
    await ledger.settle(today["reservation"], 400)
    ledger.now += YEAR
    ahead = await admit(key, 900)
    assert ahead["ok"], "there it is another day"
    await ledger.settle(ahead["reservation"], 800)
    still_running = await admit(key, 100)
    ledger.now -= YEAR
    refused = await admit(key, 301)
    assert refused["code"] == "budget_exceeded", "400 are spent today and 300 held"
    assert (await admit(key, 300))["ok"], "what was spent a year ahead is that day's"
    await check_balance(ledger.store)
    for one in running, still_running:
        await ledger.settle(one["reservation"], 50)
    info = await ledger.info(key)
    assert (info["spend"], info["reserved"], info["total_spend"]) == (450e-9, 300e-9, 1300e-9)
    ledger.now += YEAR
    assert (await admit(key, 151))["code"] == "budget_exceeded", "that day comes with the 850 it has spent"
    assert (await admit(key, 150))["ok"]
    await check_balance(ledger.store)


async def test_a_clock_that_goes_back_and_forth_does_not_raise_the_budget(ledger: Ledger, admit: Admit) -> None:
    """Like two replicas, one of which is a day ahead."""
    key = await ledger.key(max_budget=1e-6, budget_duration="1d")
    let_in = 0
    for turn in range(20):
        result = await admit(key, 300)
        if result["ok"]:
            let_in += 1
            await ledger.settle(result["reservation"], 300)
        ledger.now += periods.DAY if turn % 2 == 0 else -periods.DAY
    assert let_in == 6
    await check_balance(ledger.store)


async def test_a_clock_that_goes_back_does_not_reset_a_budget(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(max_budget=1e-6, budget_duration="1h")
    await ledger.settle((await admit(key, 900))["reservation"], 900)
    ledger.now -= 2 * periods.HOUR
    await ledger.settle((await admit(key, 100))["reservation"], 100)
    ledger.now += 2 * periods.HOUR
    assert (await admit(key, 101))["code"] == "budget_exceeded"
    await check_balance(ledger.store)


async def test_a_replica_slightly_behind_stays_in_the_new_period(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(max_budget=1e-6, budget_duration="1h")
    ledger.now += periods.end("1h", ledger.now) - ledger.now
    assert (await admit(key, 900))["ok"]
    ledger.now -= 1000
    assert (await admit(key, 200))["code"] == "budget_exceeded"
    await check_balance(ledger.store)


async def test_limits_per_minute_recover_at_once(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(rpm_limit=2, tpm_limit=100)
    ledger.now += YEAR
    for _ in range(2):
        assert (await admit(key, 0, tokens=50))["ok"]
    assert (await admit(key, 0))["code"] == "rate_limit_exceeded"
    ledger.now -= YEAR
    found = await admit(key, 0, tokens=60)
    assert found["ok"]
    assert header(found, "x-ratelimit-remaining-requests") == "1"
    assert header(found, "x-ratelimit-remaining-tokens") == "40"
    assert not (await admit(key, 0, tokens=60))["ok"]
    assert (await admit(key, 0, tokens=40))["ok"]
    assert not (await admit(key, 0))["ok"]


async def test_a_reservation_made_ahead_of_time_expires_on_the_corrected_clock(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(max_parallel_requests=1)
    ledger.now += YEAR
    assert (await admit(key))["ok"]
    ledger.now -= YEAR
    assert not (await admit(key))["ok"]
    dialect = ledger.store.dialect
    assert (await ledger.store.run(expire(dialect, ledger.now)))["expired"] == 0
    ledger.now += periods.HOUR
    assert (await ledger.store.run(expire(dialect, ledger.now)))["expired"] == 1
    assert (await admit(key))["ok"]
    await check_balance(ledger.store)


async def test_reservations_expired_by_a_clock_jump_are_still_settled(ledger: Ledger, admit: Admit) -> None:
    key = await ledger.key(max_budget=1e-6)
    running = await admit(key, 900)
    ledger.now += periods.DAY
    assert (await ledger.store.run(expire(ledger.store.dialect, ledger.now)))["expired"] == 1
    assert (await admit(key, 200))["code"] == "budget_exceeded", "spent in full until somebody says better"
    ledger.now -= periods.DAY
    assert await ledger.settle(running["reservation"], 100) == "settled"
    assert (await admit(key, 900))["ok"]
    await check_balance(ledger.store)


async def test_one_batch_of_reports_and_requests_across_a_clock_jump(store: Store) -> None:
    """The report's spend is in the history when the request restores its period from there."""
    ledger = Ledger(store, Policy())
    key = await ledger.key(max_budget=1e-6, budget_duration="1d")
    running = await ledger.admit(key, 500)
    ledger.now += periods.DAY
    await ledger.admit(key, 100)
    ledger.now -= periods.DAY
    report = Report(running["reservation"], "one", 450)
    outcomes, (refused, let_in) = await ledger.batch([report], [ledger.request(key, 551), ledger.request(key, 550)])
    assert outcomes == ["settled"]
    assert (refused["ok"], let_in["ok"]) == (False, True)
    await check_balance(store)
    assert await query(store, "SELECT SUM(reserved) FROM ledger_accounts WHERE id <> 'global'") == [(550,)]
