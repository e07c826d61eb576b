"""Reports carried by responses: the journal keeps them until they are acknowledged and resends lost ones."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from container.accounting.edge import CARRY_SECONDS, Journal
from tests.accounting.edge import Behind, behind
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment
from tests.processes import StartProxy
from worker.core.ledger.settle import Report
from worker.core.protocol import REPORT_HEADER


def carry(journal: Journal, id: str) -> list[object]:
    assert journal.opened(id)
    return json.loads(journal.carried(Report(id, "i", 5)))


async def at_once(journal: Journal, ack: int = 0) -> list[int]:
    """Entry numbers of a journal page requested without waiting."""
    return [number for number, _ in (await journal.page(ack, 0.0)).entries]


async def test_a_carried_report_has_its_number_and_the_oldest_pending_number() -> None:
    journal = Journal("i")
    assert carry(journal, "one")[:4] == [1, 1, "one", "i"]
    assert carry(journal, "two")[:3] == [2, 1, "two"]
    journal.acknowledge(1)
    assert carry(journal, "three")[:3] == [3, 2, "three"]
    assert await at_once(journal) == [2, 3]


async def test_acknowledged_reports_are_removed() -> None:
    journal = Journal("i")
    carry(journal, "one")
    assert await journal.drained(0.001) == 1
    journal.acknowledge(1)
    assert (await journal.drained(0.001), await at_once(journal)) == (0, [])


async def test_only_reports_that_are_not_carried_wake_a_poll() -> None:
    journal = Journal("i")
    asking = asyncio.ensure_future(journal.page(0, 5.0))
    carry(journal, "one")
    await asyncio.sleep(0.02)
    assert not asking.done()
    journal.later(Report("two", "i", 5))
    assert [number for number, _ in (await asking).entries] == [1, 2]


async def test_a_page_gathers_the_reports_of_requests_that_end_at_nearly_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("container.accounting.edge.GATHER_SECONDS", 60.0)
    journal = Journal("i")
    for id in ("one", "two"):
        assert journal.opened(id)
    asking = asyncio.ensure_future(journal.page(0, 60.0))
    await asyncio.sleep(0)
    journal.later(Report("one", "i", 5))
    await asyncio.sleep(0.02)
    assert not asking.done()
    journal.later(Report("two", "i", 5))
    assert [number for number, _ in (await asking).entries] == [1, 2]


async def test_a_page_waits_only_a_moment_for_further_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("container.accounting.edge.GATHER_SECONDS", 0.01)
    journal = Journal("i")
    for id in ("one", "two"):
        assert journal.opened(id)
    journal.later(Report("one", "i", 5))
    page = await journal.page(0, 60.0)
    assert ([number for number, _ in page.entries], page.open) == ([1], 1)


async def test_a_full_page_and_a_journal_that_closes_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("container.accounting.edge.GATHER_SECONDS", 60.0)
    monkeypatch.setattr("container.accounting.edge.PAGE", 1)
    journal = Journal("i")
    for id in ("one", "two"):
        assert journal.opened(id)
    journal.later(Report("one", "i", 5))
    assert len((await journal.page(0, 60.0)).entries) == 1
    monkeypatch.setattr("container.accounting.edge.PAGE", 50)
    asking = asyncio.ensure_future(journal.page(0, 60.0))
    await asyncio.sleep(0)
    journal.close()
    assert len((await asking).entries) == 1


async def test_a_lost_carried_report_is_sent_by_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("container.accounting.edge.CARRY_SECONDS", 0.05)
    journal = Journal("i")
    asking = asyncio.ensure_future(journal.page(0, 5.0))
    await asyncio.sleep(0)
    carry(journal, "one")
    async with asyncio.timeout(2):
        assert [number for number, _ in (await asking).entries] == [1]


async def test_a_report_acknowledged_in_time_is_not_sent_again() -> None:
    now = 0.0
    journal = Journal("i", lambda: now)
    carry(journal, "one")
    journal.acknowledge(1)
    now = CARRY_SECONDS + 1
    asking = asyncio.ensure_future(journal.page(1, 5.0))
    await asyncio.sleep(0.02)
    assert not asking.done()
    asking.cancel()


async def test_failed_attempts_are_only_reported_to_an_edge_that_reads_them() -> None:
    report = Report("one", "i", 5, attempts='[{"error": "timeout"}]')
    for reads, sent in ((True, 1), (False, 0)):
        journal = Journal("i", attempts=reads)
        journal.later(report)
        plain = len(Report("one", "i", 5).fields)
        ((_, fields),) = (await journal.page(0, 0.0)).entries
        assert len(fields) == plain + sent
        assert len(json.loads(journal.carried(report))) == 2 + plain + sent


@pytest.fixture
def edge(proxy: StartProxy, fake: FakeProvider) -> Iterator[Behind]:
    config = {"model_list": [deployment(fake, "gpt")], "router_settings": {"num_retries": 0, "disable_cooldowns": True}}
    playing = behind(proxy, config)
    yield playing
    playing.finish()


def test_a_plain_answer_carries_its_report_if_the_grant_allows_it(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(10, 5)))
    answer = edge.post(grant={"reservation": "one", "ack": 0})
    number, oldest, *fields = json.loads(answer.headers[REPORT_HEADER])
    report = Report(*fields)
    assert (number, oldest, report.id, report.cost, report.status) == (1, 1, "one", 20_000, 200)
    assert edge.poll()["entries"] == [[1, fields]]
    edge.post(grant={"reservation": "two", "ack": 1})
    assert [number for number, _ in edge.poll()["entries"]] == [2]


def test_no_other_answer_carries_a_report(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(10, 5)))
    assert REPORT_HEADER not in edge.post().headers, "without an `ack`"
    assert REPORT_HEADER not in edge.post(grant={"ack": 0}, json=chat(stream=True)).headers
    fake.always(failing(500))
    failed = edge.post(grant={"ack": 0})
    assert (failed.status_code >= 500, REPORT_HEADER in failed.headers) == (True, False)
    assert [number for number, _ in edge.poll()["entries"]] == [1, 2, 3]


def test_an_acknowledgement_that_is_not_a_number_is_refused(edge: Behind) -> None:
    assert edge.post(grant={"ack": "1"}).status_code == 500
