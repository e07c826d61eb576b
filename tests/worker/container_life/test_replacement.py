"""An outdated or terminating container may finish its requests before another one is started."""

import asyncio

import pytest

from tests.worker.container_life.support import OUTDATED, FakeEngine, FakeRecord, Log, a_life
from worker.edge.container_life.lifecycle import NotServing
from worker.edge.container_life.readiness import Started


async def test_an_outdated_container_may_finish_its_requests_and_is_replaced():
    engine, record, log = FakeEngine(), FakeRecord(OUTDATED), Log()
    engine.running = True
    life = a_life(engine, record, log)
    owed: list[Started | None] = []
    life._owes = lambda: owed.append(life.running)
    token = await life.ready()
    assert token != "kept"
    assert (engine.terminated, engine.destroyed, len(engine.starts)) == (1, 0, 1)
    assert owed == [OUTDATED], "its journal can be read while it ends"
    assert log.events == ["container_retiring", "container_retired", "container_start", "container_ready"]
    assert await life.ready() == token
    assert len(engine.starts) == 1


async def test_a_container_that_does_not_finish_in_time_is_destroyed():
    engine, log = FakeEngine(), Log()
    engine.running, engine.obeys = True, False
    assert await a_life(engine, FakeRecord(OUTDATED), log).ready() != "kept"
    assert (engine.terminated, engine.destroyed, len(engine.starts)) == (1, 1, 1)
    assert dict(log)["container_retired"]["in_time"] is False


async def test_a_request_with_an_alternative_does_not_wait_for_a_replacement():
    engine = FakeEngine()
    engine.running = True
    life = a_life(engine, FakeRecord(OUTDATED))
    with pytest.raises(NotServing, match="about to end"):
        await life.ready(patient=False)
    assert life.state != "unavailable"
    token = await life.ready()
    assert await life.ready(patient=False) == token
    assert (engine.terminated, len(engine.starts)) == (1, 1)


async def test_a_terminating_container_is_not_signaled_again_and_is_waited_for():
    engine = FakeEngine()
    life = a_life(engine)
    token = await life.ready()
    life.ending(token)
    with pytest.raises(NotServing, match="about to end"):
        await life.ready(patient=False)
    asyncio.get_running_loop().call_later(0.05, engine._end)
    assert await life.ready() != token
    assert (engine.terminated, engine.destroyed, len(engine.starts)) == (0, 0, 2)
