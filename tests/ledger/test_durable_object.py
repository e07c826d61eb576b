"""What only the Durable Object's SQL can get wrong: limits on parameters, large integers, rollback, storage."""

from collections.abc import AsyncIterator

import pytest

from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.support import Ledger, check_balance, query
from worker.core.ledger.expiry import expire_instance
from worker.core.ledger.settle import Report
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
