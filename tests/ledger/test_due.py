"""The next deadlines of the ledger, for which a sleeping host has to wake up."""

import pytest

from container.stores import Store
from tests.ledger.support import Ledger
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.expiry import next_deadlines


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def test_the_next_deadlines(ledger: Ledger) -> None:
    assert await ledger.store.run(next_deadlines()) == {"reservation": None, "alert": None, "line": None}
    first, began = (await ledger.admit(None, 10))["reservation"], ledger.now
    ledger.now += 1000
    second = (await ledger.admit(None, 10))["reservation"]
    assert await ledger.store.run(next_deadlines()) == {"reservation": began + 60_000, "alert": None, "line": None}
    await ledger.settle(first, 10)
    assert await ledger.store.run(next_deadlines()) == {"reservation": began + 61_000, "alert": None, "line": began}
    await ledger.settle(second, 10)
    assert (await ledger.store.run(next_deadlines()))["reservation"] is None


async def test_an_alert_is_due_when_it_is_written(ledger: Ledger) -> None:
    ledger.policy = Policy(everyone=Limits(max_budget=5))
    await ledger.settle((await ledger.admit(None, 5))["reservation"], 5)
    assert (await ledger.store.run(next_deadlines()))["alert"] == ledger.now
