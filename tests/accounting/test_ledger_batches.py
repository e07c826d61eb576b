"""Batches of admissions and reports: none is lost, late, or affected by another one's failure."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from container.accounting.ledger import LedgerBatcher
from container.stores import LedgerUnavailable, SqliteStore
from tests.ledger.support import NOON, Ledger, check_balance, query
from worker.core.ledger.decision import Decision
from worker.core.ledger.settle import Report


class Counting(SqliteStore):
    """A store that counts. `decisions`: how many have run; `down`: all fail; `slow`: seconds each one takes."""

    decisions = 0
    down = False
    slow = 0.0

    async def run(self, decision: Decision) -> Any:
        self.decisions += 1
        await asyncio.sleep(self.slow)
        if self.down:
            decision.steps.close()
            raise LedgerUnavailable("gone")
        return await super().run(decision)


class Batcher(LedgerBatcher):
    """Keeps the outcomes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: list[tuple[str, str]] = []
        self.told = asyncio.Event()

    def _taken(self, report: Report, outcome: str) -> None:
        super()._taken(report, outcome)
        self.outcomes.append((report.id, outcome))
        self.told.set()


class Desk:
    """A running batcher with its own ledger."""

    def __init__(self, store: Counting) -> None:
        self.store = store
        self.ledger = Ledger(store)
        self.batcher = Batcher(store, self.ledger.policy, lambda: NOON, alone=True)

    async def admit(self, key: str | None = None, amount: int = 0, **fields: Any) -> dict[str, Any]:
        return await self.batcher.admit(self.ledger.request(key, amount, **fields))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = Counting(tmp_path / "ledger.db")
    await store.open()
    made = Desk(store)
    work = asyncio.create_task(made.batcher.work())
    yield made
    work.cancel()
    await store.close()


async def test_concurrent_requests_share_a_batch(desk: Desk) -> None:
    results = await asyncio.gather(*(desk.admit() for _ in range(20)))
    assert all(r["ok"] for r in results)
    assert desk.store.decisions == 1
    await check_balance(desk.store)


async def test_the_next_batch_gathers_while_one_is_being_written(desk: Desk) -> None:
    desk.store.slow = 0.05
    first = asyncio.create_task(desk.admit())
    await asyncio.sleep(0.02)
    rest = [asyncio.create_task(desk.admit()) for _ in range(300)]
    await asyncio.gather(first, *rest)
    assert desk.store.decisions == 4  # one, then at most 128 in each of the others


async def test_an_admission_sees_earlier_reports(desk: Desk) -> None:
    key = await desk.ledger.key(max_parallel_requests=1, max_budget=1000e-9)
    for _ in range(3):
        made = await desk.admit(key, 600)
        assert made["ok"]
        assert not (await desk.admit(key, 100))["ok"]
        desk.batcher.later(Report(made["reservation"], "one", 100))
    assert (await desk.ledger.info(key))["spend"] == pytest.approx(200e-9)


async def test_a_report_is_written_soon_without_an_admission(desk: Desk) -> None:
    made = await desk.admit()
    desk.batcher.later(Report(made["reservation"], "one", 100))
    await asyncio.wait_for(desk.batcher.told.wait(), 5)
    assert desk.batcher.outcomes == [(made["reservation"], "settled")]


async def test_other_decisions_see_earlier_reports(desk: Desk) -> None:
    made = [await desk.admit(amount=500) for _ in range(200)]
    for one in made:
        desk.batcher.later(Report(one["reservation"], "one", 100))

    def total():
        rows = yield "SELECT spent, parallel FROM ledger_accounts", ()
        return tuple(rows[0])

    assert await desk.batcher.run(Decision(total())) == (20_000, 0)


async def test_an_outage_fails_every_admission_and_keeps_the_reports(desk: Desk) -> None:
    made = await desk.admit(amount=500)
    desk.store.down = True
    desk.batcher.later(Report(made["reservation"], "one", 100))
    refused = await asyncio.gather(*(desk.admit() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(r, LedgerUnavailable) for r in refused)
    await desk.batcher.settled()
    assert desk.batcher.waiting == 6  # and the releases of the refused requests
    desk.store.down = False
    assert (await desk.admit())["ok"]
    assert desk.batcher.waiting == 0
    assert [outcome for _, outcome in desk.batcher.outcomes] == ["settled", *["unknown"] * 5]
    assert desk.batcher.outcomes[0][0] == made["reservation"]
    await check_balance(desk.store)


async def test_reports_are_written_after_an_outage_without_new_requests(desk: Desk) -> None:
    made = await desk.admit(amount=500)
    desk.store.down = True
    desk.batcher.later(Report(made["reservation"], "one", 100))
    await desk.batcher.settled()
    desk.store.down = False
    await asyncio.wait_for(desk.batcher.told.wait(), 10)
    await check_balance(desk.store)


async def test_reports_beyond_one_batch_are_written_by_themselves(desk: Desk) -> None:
    made = [await desk.admit() for _ in range(300)]
    for one in made:
        desk.batcher.later(Report(one["reservation"], "one", 1))
    await all_written(desk)


async def test_a_report_queued_during_a_slow_batch_is_written_by_itself(desk: Desk) -> None:
    first, second = await desk.admit(), await desk.admit()
    desk.store.slow = 0.05
    desk.batcher.later(Report(first["reservation"], "one", 1))
    await asyncio.sleep(0.02)
    desk.batcher.later(Report(second["reservation"], "one", 1))
    await all_written(desk)


async def test_a_report_that_failed_in_a_divided_batch_is_retried(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [await desk.admit() for _ in range(3)]
    failures: list[Exception] = [ValueError("one of them cannot be written"), LedgerUnavailable("gone")]
    run = desk.store.run

    async def failing(decision: Decision) -> Any:
        if failures:
            decision.steps.close()
            raise failures.pop(0)
        return await run(decision)

    monkeypatch.setattr(desk.store, "run", failing)
    for one in made:
        desk.batcher.later(Report(one["reservation"], "one", 1))
    await all_written(desk)


async def all_written(desk: Desk) -> None:
    async with asyncio.timeout(5):
        while desk.batcher.waiting:
            desk.batcher.told.clear()
            await desk.batcher.told.wait()
    await check_balance(desk.store)


async def test_a_report_that_cannot_be_written_does_not_fail_the_others(desk: Desk) -> None:
    before, other = await desk.admit(), await desk.admit()
    poison = [Report(other["reservation"], "one", 1, latency=2**70), Report(before["reservation"], "one", 7)]
    for report in poison:
        desk.batcher.later(report)
    results = await asyncio.gather(desk.admit(model="a"), desk.admit(model="\ud800"), return_exceptions=True)
    assert isinstance(results[0], dict)
    assert results[0]["ok"]
    assert isinstance(results[1], UnicodeEncodeError)
    assert desk.batcher.outcomes == [(other["reservation"], "failed"), (before["reservation"], "settled")]
    await desk.batcher.settled()
    assert desk.batcher.waiting == 0
    await check_balance(desk.store)


async def test_a_request_cancelled_before_its_batch_is_not_admitted(desk: Desk) -> None:
    leaving = asyncio.create_task(desk.admit())
    staying = asyncio.create_task(desk.admit())
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)["ok"]
    assert await query(desk.store, "SELECT parallel FROM ledger_accounts") == [(1,)]


@pytest.mark.parametrize("alone", [True, False])
async def test_with_a_shared_ledger_an_answer_waits_for_its_settlement(desk: Desk, alone: bool) -> None:
    batcher = Batcher(desk.store, desk.ledger.policy, lambda: NOON, alone=alone)
    work = asyncio.create_task(batcher.work())
    made = await batcher.admit(desk.ledger.request(None, 500))
    await batcher.now(Report(made["reservation"], "one", 100))
    assert (batcher.outcomes == []) == alone
    desk.store.down = True
    await batcher.now(Report(made["reservation"], "one", 100))
    assert await batcher.drained(0.1) == 1
    work.cancel()


_KILLED = """
import asyncio, sys
from container.accounting.ledger import LedgerBatcher
from container.stores import SqliteStore
from tests.ledger.support import NOON, Ledger
from worker.core.ledger.settle import Report

class Batcher(LedgerBatcher):
    def _taken(self, report, outcome):
        super()._taken(report, outcome)
        print("settled", report.id, flush=True)

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key(max_budget=1000)
    batcher = Batcher(store, ledger.policy, lambda: NOON, alone=True)
    work = asyncio.create_task(batcher.work())

    async def client():
        while True:
            made = await batcher.admit(ledger.request(key, 1000))
            print("admitted", made["reservation"], flush=True)
            await asyncio.sleep(0)
            batcher.later(Report(made["reservation"], "one", 400))

    await asyncio.gather(*(client() for _ in range(16)))

asyncio.run(main())
"""


def _killed_in_mid_load(path: Path) -> list[tuple[str, str]]:
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        lines = [output.readline() for _ in range(500)]
        os.kill(process.pid, signal.SIGKILL)
        lines += output.readlines()
    process.wait(10)
    return [(what, id) for line in lines if line.endswith("\n") for what, id in [line.split()]]


async def test_kill_minus_nine_between_batches_loses_nothing_acknowledged(tmp_path: Path) -> None:
    said = await asyncio.to_thread(_killed_in_mid_load, tmp_path / "ledger.db")
    assert {what for what, _ in said} == {"admitted", "settled"}
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    lines = dict(await query(store, "SELECT id, state FROM ledger_requests"))
    assert {id for what, id in said if what == "admitted"} <= set(lines)
    assert all(lines[id] == 2 for what, id in said if what == "settled")
    await check_balance(store)
    await store.close()
