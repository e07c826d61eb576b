"""Shorthands for ledger tests."""

import itertools
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from container.stores import Store
from worker.core.ledger import key_admin, keys
from worker.core.ledger.accounts import Policy, open_account
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision, Steps, marks
from worker.core.ledger.owners import BUDGETS, OWNERS
from worker.core.ledger.settle import Report
from worker.core.values import periods

# 2026-11-20T12:00:30Z, a Friday.
NOON = 1_795_176_030_000
_ids = itertools.count()


class Ledger:
    """A store with a clock that tests set: `now` in milliseconds."""

    def __init__(self, store: Store, policy: Policy | None = None, now: int = NOON) -> None:
        self.store = store
        self.policy = policy or Policy()
        self.now = now

    async def key(self, **fields: Any) -> str:
        """Creates a key and returns its secret. Its team and its budget need not exist, nor allow its models."""
        unchecked = {name: fields.pop(name) for name in ("team_id", "budget_id", "models") if name in fields}
        made = await self.store.run(key_admin.generate(self.store.dialect, fields, self.now))
        assert made["ok"], made
        if unchecked:
            columns = keys.KEYS.read(unchecked, (), self.now)
            changes = ", ".join(f"{name} = ?" for name in columns)
            by_hash = "SELECT key_id FROM ledger_secrets WHERE hash = ?"
            sql = f"UPDATE ledger_keys SET {changes} WHERE id IN ({by_hash})"
            await query(self.store, sql, *columns.values(), made["body"]["token"])
        return made["body"]["key"]

    async def owner(self, account: str, **columns: Any) -> None:
        """Creates an owner's row, or replaces it. Money is in nano-dollars."""
        row = {"account": account, **OWNERS.defaults, "members": "[]", "declared": 0, "created": 0, "updated": 0}
        await self._replaced("ledger_owners", "account", {**row, **columns})

    async def budget(self, id: str, **columns: Any) -> None:
        """Creates a row of ledger_budgets, or replaces it."""
        await self._replaced(
            "ledger_budgets", "id", {"id": id, **BUDGETS.defaults, "created": 0, "updated": 0, "declared": 0, **columns}
        )

    async def _replaced(self, table: str, name: str, row: dict[str, Any]) -> None:
        def steps() -> Steps:
            yield f"DELETE FROM {table} WHERE {name} = ?", (row[name],)
            yield f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks(len(row))})", (*row.values(),)
            if table == "ledger_owners":
                yield open_account(row[name], periods.start(row["budget_duration"], self.now))

        await self.store.run(Decision(steps(), transaction=True))

    async def account(self, id: str) -> dict[str, int]:
        """Returns what the account has spent and reserved in its period, and its counters."""
        names = "start spent reserved total requests tokens parallel".split()
        rows = await query(self.store, f"SELECT {', '.join(names)} FROM ledger_accounts WHERE id = ?", id)
        return dict(zip(names, rows[0], strict=True)) if rows else {}

    async def admit(self, key: str | None, amount: int | None = 0, **fields: Any) -> dict[str, Any]:
        """Admits one request. `key` is a secret, or None for the master key."""
        _, (result,) = await self.batch((), [self.request(key, amount, **fields)])
        return result

    def request(self, key: str | None, amount: int | None = 0, **fields: Any) -> AdmissionRequest:
        return AdmissionRequest(
            id=f"{next(_ids):032x}",
            secret_hash=None if key is None else keys.hash_secret(key),
            model="gpt-4o",
            endpoint="chat_completions",
            amount=amount,
            tokens=0,
            instance="one",
            lease=60_000,
        )._replace(**fields)

    async def settle(self, id: str, cost: int, instance: str = "one", **fields: Any) -> str:
        """Settles one request and returns the outcome."""
        (outcome,), _ = await self.batch([Report(id, instance, cost, **fields)], ())
        return outcome

    async def batch(
        self, reports: Sequence[Report], requests: Sequence[AdmissionRequest]
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """Runs one batch and returns the outcomes and the results."""
        found = await self.store.run(batch(self.store.dialect, self.policy, reports, requests, self.now))
        return found["outcomes"], found["results"]

    async def info(self, key: str) -> dict[str, Any]:
        found = await self.store.run(key_admin.info(key, self.now))
        assert found["ok"], found
        return found["body"]["info"]


async def query(store: Store, sql: str, *parameters: Any) -> list[Sequence[Any]]:
    def steps() -> Steps:
        rows = yield sql, parameters
        return [tuple(row) for row in rows]

    return await store.run(Decision(steps()))


def header(result: dict[str, Any], name: str) -> str | None:
    return dict(result["headers"]).get(name)


async def check_balance(store: Store, deleted: Collection[str] = ()) -> None:
    """Checks that the counters equal the sums of the spend log, for each account and period. `deleted`: accounts that
    no longer exist."""
    accounts = await query(store, "SELECT id, start, spent, reserved, total, parallel FROM ledger_accounts")
    rows = await query(
        store,
        "SELECT state, amount, charged, global_start, key_id, key_start, user_id, user_start, others "
        "FROM ledger_requests",
    )
    lines: dict[str, list[tuple[int, int, int, int]]] = {}  # account -> (state, amount, charged, period)
    for state, amount, charged, global_start, key_id, key_start, user_id, user_start, others in rows:
        drawn = [("global", global_start), (f"key:{key_id}", key_start), (f"user:{user_id}", user_start)]
        for id, start in [*drawn, *json.loads(others)]:
            lines.setdefault(id, []).append((state, amount, charged, start))
    archive: dict[str, dict[int, int]] = {}
    for account, start, spent in await query(store, "SELECT account, start, spent FROM ledger_periods"):
        archive.setdefault(account, {})[start] = spent
    for id, start, spent, reserved, total, parallel in accounts:
        own = lines.get(id, [])
        past = {began: amount for began, amount in archive.get(id, {}).items() if began != start}
        charged: dict[int, int] = {}
        for _, _, amount, began in own:
            charged[began] = charged.get(began, 0) + amount
        assert spent == charged.pop(start, 0), id
        assert {k: v for k, v in past.items() if v} == {k: v for k, v in charged.items() if v}, id
        assert total == sum(line[2] for line in own), id
        assert reserved == sum(line[1] for line in own if line[0] == 0 and line[3] == start), id
        assert parallel == sum(1 for line in own if line[0] == 0), id
    missing = {id for id in lines if id not in ("key:", "user:")} - {account[0] for account in accounts}
    assert missing == {*deleted}


class BrokenOff(Exception):
    """The process died in the middle of a decision."""


def breaking_off(steps: Steps, after: int) -> Steps:
    """Runs the steps up to the given statement, or up to the commit, and then breaks off."""
    rows = None
    with suppress(StopIteration):
        for _ in range(after):
            rows = yield steps.send(rows)
    steps.close()
    raise BrokenOff
