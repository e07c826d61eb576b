"""Compares the ledger's counters with its lines at the end."""

from typing import Any

from container.stores import Store
from tests.ledger.support import check_balance, query
from tests.soak.judge import Judge


async def balance(store: Store, judge: Judge) -> dict[str, Any]:
    """The figures for the table, and the `ids` of all requests that are not open: ours and the clients'."""
    await store.open()
    try:
        try:
            await check_balance(store)
        except AssertionError as error:
            judge.found(f"the ledger is not balanced: {error}")
        rows = await query(store, "SELECT state, status, COUNT(*), SUM(charged) FROM ledger_requests GROUP BY 1, 2")
        ids = await query(store, "SELECT id, request_id FROM ledger_requests WHERE state <> 0")
    finally:
        await store.close()
    return {
        "ids": {name for row in ids for name in row},
        "lines": sum(row[2] for row in rows),
        "answered": sum(row[2] for row in rows if row[0] == 2 and row[1] == 200),
        "expired": sum(row[2] for row in rows if row[0] == 1),
        "open": sum(row[2] for row in rows if row[0] == 0),
        "spent": float(sum(row[3] for row in rows)) / 1e9,
    }
