"""Calls between the hub and a worker."""

import asyncio
import os
import pickle
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from container.stores import LedgerUnavailable
from container.workers.link import Answer, Link, LinkLost, connect, from_a_worker, from_the_hub
from worker.core.ledger.administration import decide
from worker.core.ledger.decision import SQLITE


class Hub:
    def __init__(self) -> None:
        self.heard: list[tuple] = []
        self.lost = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.link: Link

    def __call__(self, kind: str, given: tuple[Any, ...], answer: Answer | None) -> Any:
        self.heard.append((kind, *given))
        match kind:
            case "wait":
                return self._wait()
            case "fail":
                return self._fail(*given)
            case "refuse":
                raise LedgerUnavailable("gone")
        return [*given]

    async def _wait(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _fail(self, text: str) -> None:
        raise ValueError(text)


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
async def worker(hub: Hub) -> AsyncIterator[Link]:
    one, other = socket.socketpair()
    hub.link = await connect(one, hub, hub.lost.set, from_a_worker)
    link = await connect(other, lambda *_: None, lambda: None, from_the_hub)
    yield link
    link.close()
    await hub.lost.wait()


async def test_calls_and_notices_arrive_in_order(hub: Hub, worker: Link) -> None:
    worker.tell("first", 1)
    answers = await asyncio.gather(*(worker.call("echo", number, "x" * 100_000) for number in range(5)))
    assert [answer[0] for answer in answers] == [0, 1, 2, 3, 4]
    assert [heard[:2] for heard in hub.heard] == [("first", 1), *(("echo", number) for number in range(5))]


@pytest.mark.parametrize("size", [1, 3, 7, 10_000], ids="{} bytes at once".format)
async def test_frames_arrive_in_pieces_and_several_at_once(size: int) -> None:
    heard: list[tuple] = []
    link = Link(lambda kind, given, _: heard.append((kind, *given)), lambda: None, from_a_worker)
    frames = [pickle.dumps([(0, "notice", (number,)), (0, "again", ("x" * number,))]) for number in range(3)]
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    for at in range(0, len(stream), size):
        link.data_received(stream[at : at + size])
    assert heard == [each for number in range(3) for each in (("notice", number), ("again", "x" * number))]


async def test_faults_arrive_as_they_are(worker: Link) -> None:
    with pytest.raises(LedgerUnavailable, match="gone"):
        await worker.call("refuse")
    with pytest.raises(RuntimeError, match="ValueError: oh"):
        await worker.call("fail", "oh")


async def test_cancelling_a_call_cancels_its_work(hub: Hub, worker: Link) -> None:
    task = asyncio.create_task(worker.call("wait"))
    await worker.call("echo")
    task.cancel()
    async with asyncio.timeout(5):
        await hub.cancelled.wait()


async def test_calls_fail_when_the_other_end_is_gone(hub: Hub, worker: Link) -> None:
    task = asyncio.create_task(worker.call("wait"))
    await worker.call("echo")
    hub.link.close()
    with pytest.raises(LinkLost):
        await task
    with pytest.raises(LinkLost):
        await worker.call("echo")


def test_a_worker_names_decisions_and_plain_values_only() -> None:
    known = [("run", decide, (SQLITE, {"a": 2**70}))]
    assert from_a_worker(pickle.dumps(known)) == known
    for stranger in (os.system, Hub, eval):
        with pytest.raises(pickle.UnpicklingError):
            from_a_worker(pickle.dumps(stranger))
    # It is refused before it is imported, which runs code.
    sys.modules.pop("this", None)
    with pytest.raises(pickle.UnpicklingError):
        from_a_worker(b"cthis\nd\n.")
    assert "this" not in sys.modules
    # What a module of the package imports is not its own.
    with pytest.raises(pickle.UnpicklingError):
        from_a_worker(b"cworker.core.ledger.expiry\nAny\n.")
