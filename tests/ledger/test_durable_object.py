"""What only the Durable Object can get wrong: limits on parameters, large integers, rollback, storage, and what it
remembers between batches."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.support import NOON, BrokenOff, Ledger, breaking_off, check_balance, query
from worker.core.ledger import key_admin
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision
from worker.core.ledger.expiry import expire_instance
from worker.core.ledger.settle import Report, bind
from worker.core.values.money import MAX_NANO

# Their accounts exceed the parameter limit of one statement.
MANY = 40


@pytest.fixture
async def store(durable_objects: DurableObjects) -> AsyncIterator[DurableStore]:
    store = DurableStore(durable_objects.edge.url, durable_objects.new_name())
    await store.open()
    yield store
    await store.close()


async def test_a_decision_that_fails_half_way_is_rolled_back(store: DurableStore) -> None:
    with pytest.raises(AssertionError, match="on purpose"):
        await store.fail()
    assert await query(store, "SELECT id FROM ledger_accounts") == [("global",)]


async def test_the_largest_amount_is_stored_exactly(store: DurableStore) -> None:
    ledger = Ledger(store)
    id = (await ledger.admit(None, 1))["reservation"]
    assert await ledger.settle(id, MAX_NANO) == "settled"
    assert await query(store, "SELECT spent, alerted_soft FROM ledger_accounts") == [(MAX_NANO, -1)]


async def test_a_batch_takes_any_number_of_reports_and_requests_with_separate_accounts(
    store: DurableStore,
) -> None:
    ledger = Ledger(store)
    keys = [await ledger.key(user_id=f"user {i}") for i in range(MANY)]
    _, made = await ledger.batch([], [ledger.request(key, 10) for key in keys])
    ids = [one["reservation"] for one in made]
    outcomes, results = await ledger.batch([Report(id, "one", 7) for id in ids], [ledger.request(key) for key in keys])
    assert outcomes == ["settled"] * MANY
    assert all(result["ok"] for result in results)
    assert await query(store, "SELECT spent, reserved FROM ledger_accounts WHERE id = 'global'") == [(7 * MANY, 0)]
    await check_balance(store)


async def test_any_number_of_reservations_expires_at_once(store: DurableStore) -> None:
    ledger = Ledger(store)
    keys = [await ledger.key(user_id=f"user {i}") for i in range(MANY)]
    await ledger.batch([], [ledger.request(key, 10) for key in keys])
    assert (await store.run(expire_instance(store.dialect, "one", ledger.now, MANY)))["expired"] == MANY
    assert await query(store, "SELECT spent, reserved FROM ledger_accounts WHERE id = 'global'") == [(10 * MANY, 0)]
    await check_balance(store)


async def block(ledger: Ledger, key: str) -> None:
    await ledger.store.run(key_admin.block(ledger.store.dialect, {"key": key}, ledger.now))


async def take_the_budget(ledger: Ledger, key: str) -> None:
    await ledger.store.run(key_admin.update(ledger.store.dialect, {"key": key, "max_budget": 0}, ledger.now))


async def take_the_team(ledger: Ledger, key: str) -> None:
    await ledger.owner("team:blue", blocked=1)


@pytest.mark.parametrize(
    ("change", "status"), [(block, 401), (take_the_budget, 429), (take_the_team, 401)], ids=["key", "budget", "team"]
)
async def test_the_next_request_sees_what_another_decision_changed(
    store: DurableStore, change: Callable[[Ledger, str], Awaitable[None]], status: int
) -> None:
    ledger = Ledger(store)
    await ledger.owner("team:blue")
    key = await ledger.key(max_budget=1, team_id="blue")
    for _ in range(2):
        assert (await ledger.admit(key, 10))["ok"]
    await change(ledger, key)
    assert (await ledger.admit(key, 10))["status"] == status


async def test_a_report_sees_that_another_instance_serves_its_request(store: DurableStore) -> None:
    ledger = Ledger(store)
    id = (await ledger.admit(None, 10))["reservation"]
    await store.run(bind(id, "two"))
    assert await ledger.settle(id, 7, "one") == "foreign"
    assert await ledger.settle(id, 7, "two") == "settled"
    assert await ledger.settle(id, 7, "two") == "duplicate"


@pytest.mark.parametrize("statements", [1, 3, 4, 5])
async def test_nothing_is_remembered_of_a_batch_that_was_rolled_back(store: DurableStore, statements: int) -> None:
    ledger = Ledger(store)
    key = await ledger.key(max_budget=100e-9, max_parallel_requests=2)
    id = (await ledger.admit(key, 40))["reservation"]
    lost = ledger.request(key, 60)
    steps = batch(store.dialect, ledger.policy, [Report(id, "one", 40)], [lost], ledger.now).steps
    with pytest.raises(BrokenOff):
        await store.run(Decision(breaking_off(steps, statements), whole=True))
    assert (await ledger.admit(key, 60))["ok"]
    assert await ledger.settle(lost.id, 60) == "unknown"
    assert await ledger.settle(id, 40) == "settled"
    await check_balance(store)


async def test_an_account_that_a_refused_request_would_have_made_has_no_past(store: DurableStore) -> None:
    ledger = Ledger(store, Policy(each_end_user=Limits(max_budget=10, duration="1h")))
    assert not (await ledger.admit(None, 20, end_user="someone"))["ok"]
    ledger.now = NOON + 3_600_000
    assert (await ledger.admit(None, 10, end_user="someone"))["ok"]
    assert await query(store, "SELECT * FROM ledger_periods") == []
    await check_balance(store)


async def test_a_key_draws_on_the_period_that_another_key_has_begun(store: DurableStore) -> None:
    ledger = Ledger(store, Policy(everyone=Limits(max_budget=100, duration="1h")))
    one, other = await ledger.key(), await ledger.key()
    for key in (one, other):
        assert (await ledger.admit(key, 10))["ok"]
    ledger.now = NOON + 3_600_000
    for key in (one, other):
        assert (await ledger.admit(key, 10))["ok"]
    await check_balance(store)
    assert (await ledger.account("global"))["reserved"] == 20


async def test_any_number_of_end_users_can_be_named(store: DurableStore) -> None:
    """What is remembered has a limit."""
    ledger = Ledger(store, Policy(each_end_user=Limits(max_budget=10, duration="1h")))
    for start in range(0, 5000, 500):
        names = [f"{number}" for number in range(start, start + 500)]
        _, results = await ledger.batch((), [ledger.request(None, 10, end_user=name) for name in names])
        assert all(result["ok"] for result in results)
    for name in ("0", "4999"):
        assert (await ledger.admit(None, 1, end_user=name))["status"] == 429
    await check_balance(store)


async def killed(durable_objects: DurableObjects, store: DurableStore) -> None:
    """Must not run in its own thread: the new workerd would end with the thread that started it."""
    durable_objects.kill()
    await store.close()  # its connections led to the old workerd
    await store.open()


async def test_acknowledged_writes_survive_workerd(durable_objects: DurableObjects, store: DurableStore) -> None:
    ledger = Ledger(store)
    key = await ledger.key(max_budget=1)
    id = (await ledger.admit(key, 1000))["reservation"]
    await killed(durable_objects, store)
    assert await ledger.settle(id, 700) == "settled"
    await killed(durable_objects, store)
    assert (await ledger.info(key))["spend"] == 700e-9
    await check_balance(store)
