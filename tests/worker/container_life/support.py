"""A fake container engine, and a container lifecycle on it."""

import asyncio
from collections.abc import Callable, Mapping

from worker.core.configuration import fingerprint
from worker.edge.container_life.lifecycle import Lifecycle
from worker.edge.container_life.readiness import Started
from worker.edge.container_life.settings import Limits


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
