"""A sleeping container is started once for all waiting requests."""

import asyncio

import pytest

from tests.worker.container_life.support import FakeEngine, FakeRecord, Log, a_life, until
from worker.edge.container_life.lifecycle import Lifecycle, NotServing
from worker.edge.container_life.settings import Limits


async def test_a_start_waits_until_ready_and_returns_the_token():
    engine, record, log = FakeEngine(["not yet", "not yet", None]), FakeRecord(), Log()
    life = a_life(engine, record, log)
    assert life.state == "sleeping"
    token = await life.ready()
    assert engine.starts == [{"OPENAI_API_KEY": "sk-provider", "SHUTDOWN_GRACE": "30", "INTERNAL_TOKEN": token}]
    assert len(token) >= 32
    assert record.started is not None
    assert record.started.token == token
    assert engine.timeouts == [60]
    assert life.state == "running"
    assert log.events == ["container_start", "container_ready"]
    assert "sk-provider" not in repr(log)
    assert token not in repr(log)


async def test_a_second_request_needs_no_probe():
    engine = FakeEngine()
    life = a_life(engine)
    assert await life.ready() == await life.ready()
    assert (len(engine.starts), engine.probes) == (1, 1)


async def test_concurrent_requests_join_one_start():
    engine = FakeEngine(["not yet"] * 3 + [None])
    life = a_life(engine)
    tokens = await asyncio.gather(*(life.ready() for _ in range(50)))
    assert len(set(tokens)) == len(engine.starts) == 1


async def test_a_cancelled_request_does_not_cancel_the_start():
    engine = FakeEngine(["not yet"] * 5 + [None])
    life = a_life(engine)
    first = asyncio.create_task(life.ready())
    await asyncio.sleep(0.02)
    second = asyncio.create_task(life.ready())
    first.cancel()
    assert await second
    assert len(engine.starts) == 1


async def test_a_start_continues_without_waiting_requests():
    engine = FakeEngine(["not yet"] * 3 + [None])
    life = a_life(engine)
    only = asyncio.create_task(life.ready())
    await asyncio.sleep(0.01)
    assert life.state == "sleeping"  # it runs, but does not serve yet
    only.cancel()
    await until(lambda: life.state == "running")
    assert len(engine.starts) == 1


async def test_an_immediate_exit_fails_all_waiters_and_is_retried_after_a_pause():
    engine, log = FakeEngine(), Log()
    engine.exit = "it ended with exit code 3"
    life = a_life(engine, log=log)
    outcomes = await asyncio.gather(*(life.ready() for _ in range(10)), return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"The container did not start: it ended with exit code 3"}
    assert life.state == "unavailable"
    with pytest.raises(NotServing):
        await life.ready()
    assert len(engine.starts) == 1
    engine.exit = None
    await asyncio.sleep(0.12)
    assert life.state == "sleeping"
    assert await life.ready()
    assert life.state == "running"
    assert ("container_not_serving", "exit code 3") in [(e, f.get("reason", "")[-11:]) for e, f in log]


async def test_a_container_that_never_becomes_ready_is_destroyed():
    engine = FakeEngine(["Container is not listening to port 4000"])
    life = a_life(engine, start_timeout=0.1)
    with pytest.raises(NotServing, match=r"within 0\.1 seconds \(Container is not listening"):
        await life.ready()
    assert engine.destroyed == 1
    engine.script = [None]
    await asyncio.sleep(0.12)
    assert await life.ready()


async def test_an_engine_error_fails_at_once():
    engine = FakeEngine()
    engine.refuses = RuntimeError("no such thing")
    with pytest.raises(NotServing, match="no such thing"):
        await a_life(engine).ready()


async def test_a_container_that_died_is_restarted_with_a_new_token():
    engine = FakeEngine()
    life = a_life(engine)
    first = await life.ready()
    engine.running = False
    assert life.state == "sleeping"
    assert await life.ready() != first
    assert len(engine.starts) == 2


async def test_during_a_restart_the_old_token_is_not_returned():
    engine, gone = FakeEngine(), []
    life = Lifecycle(engine, FakeRecord(), dict, dict, Limits(start_timeout=1, sleep_after=60), Log(), gone=gone.append)
    first = await life.ready()
    assert life.running is not None
    assert life.running.token == first
    engine.running = False
    assert life.ended is not None
    assert life.ended.token == first
    engine.script = ["not yet"] * 3 + [None]
    waking = [asyncio.create_task(life.ready()) for _ in range(2)]
    await until(lambda: engine.running)
    assert (life.running, life.ended) == (None, None), "neither is known to serve"
    waking.append(asyncio.create_task(life.ready()))
    tokens = await asyncio.gather(*waking)
    assert set(tokens) == {life.running.token}
    assert first not in tokens
    assert [started.token for started in gone] == [first]


async def test_an_engine_without_inactivity_timeouts_is_supported():
    class Older(FakeEngine):
        async def set_inactivity_timeout(self, seconds: float) -> None:
            raise RuntimeError("not implemented")

    log = Log()
    assert await a_life(Older(), log=log).ready()
    assert "container_no_inactivity_timeout" in log.events


async def test_a_request_with_an_alternative_waits_for_a_start():
    engine = FakeEngine(["not yet", None])
    assert await a_life(engine).ready(patient=False)
