"""The ledger as a worker uses it: the hub's, over their link."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from container.accounting.ledger import LocalLedger
from container.stores import SqliteStore
from container.workers.hub import Hub
from container.workers.link import Link, connect, from_a_worker, from_the_hub
from container.workers.worker import RemoteLedger
from worker.core.ledger.accounts import Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.keys import new_id

INSTANCE = "hub-1"


class HubsPart(NamedTuple):
    """What the hub answers these calls with."""

    ledger: LocalLedger

    def _used_ledger(self) -> LocalLedger:
        return self.ledger


class Ledgers(NamedTuple):
    hubs: LocalLedger
    workers: RemoteLedger
    link: Link

    async def settled(self) -> None:
        """Wait until the hub has all reports in its ledger."""
        await self.link.call("settled")
        await self.hubs.settled()


@pytest.fixture
async def ledgers() -> AsyncIterator[Ledgers]:
    hubs = LocalLedger(SqliteStore(":memory:"), Policy(), alone=True, patience=60)
    await hubs.start()
    one, other = socket.socketpair()
    serve: Any = partial(Hub._serve, HubsPart(hubs), None)
    lost = asyncio.Event()
    await connect(one, serve, lost.set, from_a_worker)
    link = await connect(other, lambda *_: None, lambda: None, from_the_hub)
    yield Ledgers(hubs, RemoteLedger(link, hubs.dialect, INSTANCE, alone=True), link)
    link.close()
    await lost.wait()
    await hubs.close()


def request() -> AdmissionRequest:
    return AdmissionRequest(new_id(), None, "gpt", "chat_completions", 1000, 10, INSTANCE, 120_000)


async def test_a_client_that_leaves_at_any_moment_leaves_nothing_open(ledgers: Ledgers) -> None:
    had_admitted = 0
    for iterations in range(1000):
        admission = asyncio.create_task(ledgers.workers.admit(request(), 100))
        for _ in range(iterations):
            await asyncio.sleep(0)
        if admission.done():
            break
        had_admitted += ledgers.hubs.open
        admission.cancel()
        await asyncio.wait([admission])
        await ledgers.settled()
        assert (ledgers.hubs.open, iterations) == (0, iterations)
    assert had_admitted
    assert ledgers.hubs.open == 1
