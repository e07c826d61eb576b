"""A running container is adopted, probed when in doubt, and replaced if it does not serve."""

import asyncio

import pytest

from tests.worker.container_life.support import KEPT, FakeEngine, FakeRecord, Log, a_life, until
from worker.edge.container_life import lifecycle
from worker.edge.container_life.lifecycle import NotServing


async def test_a_restarted_object_finds_its_container():
    engine, log = FakeEngine(["not yet", None]), Log()
    engine.running = True
    life = a_life(engine, FakeRecord(KEPT), log)
    life.adopt()
    await asyncio.sleep(0)
    assert engine.timeouts == [60]
    assert await life.ready() == "kept"
    assert engine.starts == []
    assert log.events == ["container_found_running"]


async def test_adopting_without_a_container_does_nothing():
    engine = FakeEngine()
    a_life(engine).adopt()
    await asyncio.sleep(0)
    assert engine.timeouts == []


async def test_a_running_container_without_a_known_token_is_replaced():
    engine = FakeEngine()
    engine.running = True
    life = a_life(engine, FakeRecord(None))
    token = await life.ready()
    assert (engine.destroyed, len(engine.starts)) == (1, 1)
    assert engine.starts[0]["INTERNAL_TOKEN"] == token


async def test_a_silent_container_is_replaced():
    engine, log = FakeEngine(["timed out"]), Log()
    engine.running = True
    life = a_life(engine, FakeRecord(KEPT), log)
    wake = asyncio.create_task(life.ready())
    await until(lambda: engine.destroyed)
    engine.script = [None]
    assert await wake != "kept"
    assert len(engine.starts) == 1
    assert "container_replaced" in log.events


async def test_a_suspected_container_is_probed_before_the_next_request():
    engine = FakeEngine()
    life = a_life(engine)
    token = await life.ready()
    life.doubt()
    assert await life.ready() == token
    assert (len(engine.starts), engine.probes) == (1, 2)


async def test_a_container_that_cannot_be_destroyed_does_not_block(monkeypatch):
    monkeypatch.setattr(lifecycle, "DESTROY_TIMEOUT", 0.05)

    class Stuck(FakeEngine):
        async def destroy(self) -> None:
            await asyncio.sleep(3600)

    engine = Stuck()
    engine.running = True
    with pytest.raises(NotServing, match="did not end"):
        await a_life(engine).ready()


async def test_a_hanging_container_is_destroyed_and_not_restarted_without_requests():
    engine, log = FakeEngine(), Log()
    life = a_life(engine, log=log)
    await life.ready()
    engine.script = ["no answer"]
    life.suspect()
    life.suspect()
    await until(lambda: not engine.running)
    assert (engine.destroyed, len(engine.starts)) == (1, 1)
    engine.script = [None]
    assert await life.ready()
    assert len(engine.starts) == 2


async def test_a_hanging_container_is_replaced_for_waiting_requests():
    engine = FakeEngine()
    life = a_life(engine)
    await life.ready()
    engine.script = ["no answer"]
    life.suspect()
    asking = asyncio.create_task(life.ready())
    await until(lambda: engine.destroyed)
    engine.script = [None]
    assert await asking
    assert (engine.destroyed, len(engine.starts)) == (1, 2)


async def test_a_container_that_recovers_is_kept():
    engine = FakeEngine()
    life = a_life(engine)
    token = await life.ready()
    life.suspect()
    assert life.running is not None
    assert await life.ready() == token
    assert (engine.destroyed, len(engine.starts)) == (0, 1)
