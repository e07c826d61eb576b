"""Shorthands for ledger tests."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from container.ledger.store import Store
from worker.core.ledger import key_admin, secrets
from worker.core.ledger.accounts import Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision, Steps
from worker.core.ledger.settle import Report

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
        """Creates a key and returns its secret."""
        made = await self.store.run(key_admin.generate(self.store.dialect, fields, self.now))
        assert made["ok"], made
        return made["body"]["key"]

    async def admit(self, key: str | None, amount: int | None = 0, **fields: Any) -> dict[str, Any]:
        """Admits one request. `key` is a secret, or None for the master key."""
        _, (result,) = await self.batch((), [self.request(key, amount, **fields)])
        return result

    def request(self, key: str | None, amount: int | None = 0, **fields: Any) -> AdmissionRequest:
        return AdmissionRequest(
            id=f"request-{next(_ids)}",
            secret_hash=None if key is None else secrets.hash_secret(key),
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


async def check_balance(store: Store) -> None:
    """Checks that the counters equal the sums of the spend log, for each account and period."""
    accounts = await query(store, "SELECT id, start, spent, reserved, total, parallel FROM ledger_accounts")
    for id, start, spent, reserved, total, parallel in accounts:
        kind, _, name = id.partition(":")
        where = {"global": "id <> ?", "key": "key_id = ?", "user": "user_id = ?"}[kind]
        column = f"{kind}_start"
        lines = await query(store, f"SELECT state, amount, charged, {column} FROM ledger_requests WHERE {where}", name)
        rows = await query(store, "SELECT start, spent FROM ledger_periods WHERE account = ? AND start <> ?", id, start)
        past = {row[0]: row[1] for row in rows}
        charged: dict[int, int] = {}
        for _, _, amount, began in lines:
            charged[began] = charged.get(began, 0) + amount
        assert spent == charged.pop(start, 0), id
        assert {k: v for k, v in past.items() if v} == {k: v for k, v in charged.items() if v}, id
        assert total == sum(line[2] for line in lines), id
        assert reserved == sum(line[1] for line in lines if line[0] == 0 and line[3] == start), id
        assert parallel == sum(1 for line in lines if line[0] == 0), id


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
