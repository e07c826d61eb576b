"""A container's life cycle: its time limits, its start, what happens while it runs, and its replacement."""

import asyncio
import itertools
from collections.abc import Callable, Mapping

import pytest

from worker.core.configuration import fingerprint
from worker.edge import container_life
from worker.edge.container_life import Lifecycle, Limits, NotServing, Started, parse_duration, read_limits, waits


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_life, "PAUSE_AFTER_FAILURE", 0.1)
    monkeypatch.setattr(container_life, "SILENCE_LIMIT", 0.2)
    monkeypatch.setattr(container_life, "RETIRE_SLACK", 0.1)
    monkeypatch.setattr(container_life, "FIRST_WAIT", 0.01)


class FakeEngine:
    """`script`: the result of each probe after a start; None means ready. The last entry repeats."""

    def __init__(self, script: list[str | None] | None = None) -> None:
        self.script = script or [None]
        self.running = False
        self.starts: list[dict[str, str]] = []
        self.destroyed = 0
        self.terminated = 0
        self.obeys = True  # whether SIGTERM stops it
        self.timeouts: list[float] = []
        self.probes = 0
        self.exit: str | None = None  # if set, the process ends before the next probe
        self.refuses: Exception | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert not self.running, "start() on a container that runs"
        self.starts.append(dict(environment))
        self.running = self.exit is None
        self.probes = 0

    async def ended(self) -> str:
        assert not self.running, "asked why it ended while it runs"
        return self.exit or "it ended"

    async def probe(self, timeout: float) -> str | None:
        assert timeout > 0
        await asyncio.sleep(0)
        answer = self.script[min(self.probes, len(self.script) - 1)]
        self.probes += 1
        return answer

    async def destroy(self) -> None:
        self.destroyed += 1
        self.running = False

    def terminate(self) -> None:
        self.terminated += 1
        if self.obeys:
            asyncio.get_running_loop().call_later(0.05, self._end)

    def _end(self) -> None:
        self.running = False

    async def set_inactivity_timeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)


class FakeRecord:
    def __init__(self, started: Started | None = None) -> None:
        self.started = started

    def load(self) -> Started | None:
        return self.started

    def save(self, started: Started) -> None:
        self.started = started


class Log(list):
    def __call__(self, level: str, event: str, **fields: object) -> None:
        self.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self]


KEPT = Started("kept", 0, fingerprint({"SHUTDOWN_GRACE": "30"}, "kept"))
OUTDATED = Started("kept", 0, fingerprint({"SHUTDOWN_GRACE": "60"}, "kept"))


async def until(condition: Callable[[], object]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that within two seconds")


def a_life(
    engine: FakeEngine, record: FakeRecord | None = None, log: Log | None = None, start_timeout: float = 1
) -> Lifecycle:
    at_start = {"SHUTDOWN_GRACE": "30"}
    environment = {"OPENAI_API_KEY": "sk-provider", **at_start}
    limits = Limits(start_timeout=start_timeout, sleep_after=60, shutdown_grace=0.1)
    log = Log() if log is None else log
    return Lifecycle(engine, record or FakeRecord(), lambda: environment, lambda: at_start, limits, log)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), (" 10M ", 600), ("1.5h", 5400), ("0.5", 0.5), ("10 m", 600)],
)
def test_valid_durations(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "ten", "10 min", "5d", "1e3", "s"])
def test_invalid_durations(text):
    assert parse_duration(text) is None


def test_defaults_and_settings():
    assert read_limits({}.get) == Limits(start_timeout=120, sleep_after=600, shutdown_grace=870)
    variables = {"CONTAINER_START_TIMEOUT": "3s", "CONTAINER_SLEEP_AFTER": "1h"}
    assert read_limits(variables.get) == Limits(start_timeout=3, sleep_after=3600)


def test_invalid_settings_are_named():
    found = read_limits({"CONTAINER_SLEEP_AFTER": "soon"}.get)
    assert found.sleep_after == 600
    assert found.problems == (
        "CONTAINER_SLEEP_AFTER is 'soon', which is not a duration such as 90s or 10m; using 600s.",
    )


def test_waits_grow_to_one_second():
    first = list(itertools.islice(waits(), 20))
    assert first == sorted(first)
    assert first[-1] == 1.0


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
    monkeypatch.setattr(container_life, "DESTROY_TIMEOUT", 0.05)

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
