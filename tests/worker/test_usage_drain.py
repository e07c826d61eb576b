"""Draining the real journal, with a fake container, ledger and alarm."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from container.accounting.edge import Journal
from worker.core.ledger.settle import Report
from worker.core.protocol import JournalPage
from worker.edge.objects import usage_drain
from worker.edge.objects.usage_drain import Drain, Entries, Failed, LedgerFailed, Page


class FakeContainer:
    """Runs as `instance`. With `fails` it does not answer."""

    def __init__(self, instance: str | None = "first") -> None:
        self.instance = instance
        self.ended: str | None = None
        self.journal = Journal(instance or "")
        self.fails = False
        self.polls: list[tuple[int, float]] = []
        self.broken = asyncio.Event()

    async def page(self, ack: int, wait: float, doubtful: list[str]) -> Page:
        self.polls.append((ack, wait))
        await asyncio.sleep(0)
        if self.fails or self.instance is None:
            raise Failed("nobody listens")
        polling = asyncio.ensure_future(self.journal.page(ack, wait, doubtful))
        breaking = asyncio.ensure_future(self.broken.wait())
        await asyncio.wait((polling, breaking), return_when="FIRST_COMPLETED")
        breaking.cancel()
        if not polling.done():
            polling.cancel()
            raise Failed("the connection broke off")
        page = polling.result()
        # As decoded from JSON.
        return JournalPage.decode(page.encode())

    def dies(self) -> None:
        self.ended, self.instance = self.instance, None
        self.broken.set()

    def starts(self, instance: str) -> None:
        self.instance, self.ended, self.journal, self.broken = instance, None, Journal(instance), asyncio.Event()


class FakeLedger:
    def __init__(self) -> None:
        self.reported: list[str] = []
        self.batches: list[int] = []
        self.renewed: list[str] = []
        self.gone: list[str] = []
        self.fails = 0  # calls

    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        await asyncio.sleep(0)
        self._fail()
        self.reported += [fields[0] for fields in reports]
        self.batches.append(len(reports))
        self.renewed += renew

    async def ended(self, instance: str) -> None:
        await asyncio.sleep(0)
        self._fail()
        self.gone.append(instance)

    def _fail(self) -> None:
        if self.fails:
            self.fails -= 1
            raise LedgerFailed("it is being moved")


class FakeAlarm:
    def __init__(self) -> None:
        self.at: float | None = None
        self.sets = 0

    def set(self, seconds: float) -> None:
        self.at = seconds
        self.sets += 1

    def delete(self) -> None:
        self.at = None


class Scene:
    def __init__(self) -> None:
        self.container, self.ledger, self.alarm = FakeContainer(), FakeLedger(), FakeAlarm()
        self.log: list[str] = []
        self.drain = self.object()

    def object(self) -> Drain:
        """A new drain without state, as after an eviction."""
        return Drain(self.container, self.ledger, self.alarm, lambda _, event, **__: self.log.append(event))

    def request(self, id: str) -> None:
        self.drain.touch()
        assert self.container.journal.opened(id)

    def ends(self, id: str) -> None:
        self.container.journal.later(Report(id, self.container.instance or "", 5))

    def carries(self, id: str) -> tuple[int, int]:
        """Ends a request whose response carries its report. Returns the numbers of its entry and of the oldest one."""
        text = self.container.journal.carried(Report(id, self.container.instance or "", 5))
        number, oldest, *_ = json.loads(text)
        return number, oldest

    async def quiet(self) -> None:
        await until(lambda: not self.drain.running)
        assert self.alarm.at is None


async def until(condition: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that within two seconds")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_drain, "QUIET", 0.05)
    monkeypatch.setattr(usage_drain, "LONG", 0.5)
    monkeypatch.setattr(usage_drain, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(usage_drain, "LONGEST_WAIT", 0.01)


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_report_is_settled_and_acknowledged_and_polling_stops(scene: Scene):
    scene.request("one")
    assert scene.alarm.at == usage_drain.ALARM_AFTER
    scene.ends("one")
    await scene.quiet()
    assert scene.ledger.reported == ["one"]
    assert scene.container.polls[-1][0] == 1
    assert await scene.container.journal.drained(0.01) == 0
    polls = len(scene.container.polls)
    await asyncio.sleep(0.1)
    assert len(scene.container.polls) == polls


async def test_polling_continues_while_a_request_runs(scene: Scene):
    scene.request("long")
    await asyncio.sleep(0.3)
    assert scene.drain.running
    assert len(scene.container.polls) <= 3, "the question is held"
    scene.ends("long")
    await until(lambda: scene.ledger.reported == ["long"])
    await scene.quiet()


async def test_many_reports_are_sent_in_batches(scene: Scene):
    for number in range(120):
        scene.request(f"r{number}")
    for number in range(120):
        scene.ends(f"r{number}")
    await scene.quiet()
    assert scene.ledger.reported == [f"r{number}" for number in range(120)]
    assert scene.ledger.batches == [50, 50, 20]
    assert scene.alarm.sets == 1


async def test_a_failed_report_is_retried(scene: Scene):
    scene.ledger.fails = 5
    scene.request("one")
    scene.ends("one")
    await scene.quiet()
    assert scene.ledger.reported == ["one"]
    assert scene.log == ["drain_failing", "drain_recovered"]


async def test_a_failing_ledger_is_retried_forever(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_drain, "PATIENCE", 0.02)
    scene.ledger.fails = 30
    scene.request("one")
    scene.ends("one")
    await scene.quiet()
    assert scene.ledger.reported == ["one"]


async def test_a_container_that_does_not_answer_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_drain, "PATIENCE", 0.05)
    scene.container.fails = True
    scene.request("one")
    await scene.quiet()
    assert scene.log == ["drain_failing", "drain_given_up"]
    scene.container.fails = False
    scene.ends("one")
    scene.drain.touch()
    await scene.quiet()
    assert scene.ledger.reported == ["one"]


async def test_a_carried_report_is_acknowledged_and_not_sent_again(scene: Scene):
    scene.request("one")
    await until(lambda: scene.container.polls)
    scene.drain.write("first", *scene.carries("one"))
    assert scene.drain.written("first") == 1
    await scene.quiet()
    assert scene.ledger.reported == []
    assert scene.container.polls[-1][0] == 1
    assert await scene.container.journal.drained(0.01) == 0


async def test_a_carried_report_lost_with_the_objects_memory_is_fetched(scene: Scene):
    for id in ("one", "two"):
        scene.request(id)
    await until(lambda: scene.container.polls)
    scene.drain.write("first", *scene.carries("one"))
    scene.carries("two")  # not stored by anyone
    scene.drain = scene.object()
    await scene.drain.alarm()
    assert "two" in scene.ledger.reported
    assert await scene.container.journal.drained(0.01) == 0


async def test_a_report_carried_by_another_container_is_not_acknowledged(scene: Scene):
    scene.request("one")
    await until(lambda: scene.container.polls)
    scene.drain.write("another", 1, 1)
    assert (scene.drain.written("first"), scene.drain.written("another")) == (0, 0)
    scene.ends("one")
    await scene.quiet()


def test_entries_are_acknowledged_up_to_the_first_gap():
    has = Entries()
    for number in (3, 1):
        has.add(number, 1)
    assert (has.upto, 2 in has, 3 in has) == (1, False, True)
    has.add(2, 2)
    assert has.upto == 3


def test_entries_older_than_the_journal_count_as_acknowledged():
    """An object that has since been evicted acknowledged them. Otherwise no later entry could ever be acknowledged."""
    has = Entries()
    has.add(2, 1)
    has.add(8, 7)
    assert (has.upto, 2 in has, 8 in has) == (6, True, True)
    has.add(7, 7)
    assert has.upto == 8


async def test_a_shared_alarm_continues_the_drain_without_waiting(scene: Scene):
    scene.request("long")
    await until(lambda: scene.container.polls)
    scene.drain = scene.object()
    scene.alarm.at = None  # fires
    scene.drain.ring()
    assert (scene.drain.running, scene.alarm.at) == (True, usage_drain.ALARM_AFTER)
    scene.ends("long")
    await scene.quiet()
    assert scene.ledger.reported[-1] == "long"


async def test_a_new_object_continues_at_its_alarm(scene: Scene):
    for id in ("one", "two"):
        scene.request(id)
    scene.ends("one")
    await until(lambda: scene.ledger.reported == ["one"])
    scene.drain = scene.object()
    scene.ends("two")
    scene.alarm.at = None  # fires
    await scene.drain.alarm()
    assert scene.ledger.reported[-1] == "two"
    assert not scene.drain.running
    assert await scene.container.journal.drained(0.01) == 0


async def test_the_alarm_waits_for_running_requests_and_is_set_again(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_drain, "ALARM_LASTS", 0.05)
    scene.request("long")
    scene.alarm.at = None  # fires
    await scene.drain.alarm()
    assert scene.alarm.at == usage_drain.ALARM_AFTER
    scene.ends("long")
    await scene.quiet()


async def test_an_alarm_without_work_does_nothing(scene: Scene):
    await scene.drain.alarm()
    assert (scene.alarm.at, scene.ledger.reported, scene.ledger.gone) == (None, [], [])


async def test_a_container_that_dies_is_reported(scene: Scene):
    scene.request("lost")
    await until(lambda: scene.container.polls)
    scene.container.dies()
    await scene.quiet()
    assert scene.ledger.gone == ["first"]


async def test_a_container_that_died_unnoticed_is_reported(scene: Scene):
    scene.container.dies()
    scene.ledger.fails = 3
    await scene.drain.alarm()
    assert scene.ledger.gone == ["first"]


async def test_a_replaced_container_is_reported_and_the_new_journal_is_read_from_the_start(scene: Scene):
    scene.request("one")
    scene.ends("one")
    await until(lambda: scene.ledger.reported == ["one"])
    scene.container.starts("second")
    scene.drain.gone("first")
    scene.request("two")
    scene.ends("two")
    await scene.quiet()
    assert scene.ledger.reported == ["one", "two"]
    assert set(scene.ledger.gone) == {"first"}


async def test_renewals_are_repeated_after_a_ledger_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("container.accounting.edge.RENEW_SECONDS", 0.2)
    scene.request("long")
    scene.ledger.fails = 2
    await until(lambda: scene.ledger.renewed)
    assert scene.ledger.renewed == ["long"]
    scene.ends("long")
    await scene.quiet()


async def test_a_request_that_never_arrived_is_settled_at_zero(scene: Scene):
    scene.drain.doubt("lost", "first")
    await scene.quiet()
    assert scene.ledger.reported == ["lost"]


async def test_a_request_that_never_arrived_at_a_dead_container_ends_with_it(scene: Scene):
    scene.container.starts("second")
    scene.drain.doubt("lost", "first")
    await scene.quiet()
    assert (scene.ledger.reported, scene.ledger.gone) == ([], ["first"])


async def test_a_request_during_the_last_poll_keeps_the_drain_running(scene: Scene):
    scene.request("one")
    scene.ends("one")
    await until(lambda: scene.ledger.reported == ["one"])
    await asyncio.sleep(0.02)
    scene.request("two")
    await asyncio.sleep(0.1)
    assert scene.drain.running
    scene.ends("two")
    await scene.quiet()
    assert scene.ledger.reported == ["one", "two"]
