"""Alone, the hourly housekeeping deletes the accounts of end users that nobody uses any more."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from container.accounting.ledger import LocalLedger
from container.stores import SqliteStore
from tests.ledger.support import NOON, Ledger
from tests.money import wait_for
from worker.core.ledger.accounts import Policy
from worker.core.values import periods

POLICY = Policy(end_user_budget="each")


def end_users(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT id FROM ledger_accounts WHERE id LIKE 'end_user:%'")
        return {id.partition(":")[2] for (id,) in rows}


async def test_accounts_are_deleted_in_the_background(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.open()
    before = Ledger(store, POLICY)
    await before.budget("each", max_budget=100, budget_duration="1d")
    for count, days in ((120, 0), (1, 9)):  # more than one call deletes, and one that is in use
        before.now = NOON + days * periods.DAY
        for number in range(count):
            await before.settle((await before.admit(None, 1, end_user=f"{days}-{number}"))["reservation"], 1)
    await store.close()

    ledger = LocalLedger(SqliteStore(path), POLICY, alone=True, now=lambda: before.now)
    await ledger.start()
    assert await asyncio.to_thread(wait_for, lambda: end_users(path), lambda found: len(found) < 2, 30) == {"9-0"}
    await ledger.close()
