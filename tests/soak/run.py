"""One soak: load and disruptions together, then the final checks."""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.fakes.server import FakeProvider
from tests.soak.calls import ENGINE, KINDS, Call, Kind, calls
from tests.soak.chaos import Blow, Chaos
from tests.soak.judge import Judge
from tests.soak.load import Load
from tests.soak.provider import SoakProvider
from tests.soak.report import progress, table
from tests.soak.watch import Watch

_LOOK_EVERY = 2.0
_SAY_EVERY = 10.0
# The open descriptors of an idle process, besides its listeners and its connections to PostgreSQL and Redis.
_FILES_AT_REST, _TASKS_AT_REST = 80, 30


class House(Protocol):
    """A system under test."""

    keys: dict[str, str]
    watches: Mapping[str, Watch]
    has_engine: bool

    @property
    def url(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def blows(self) -> list[Blow]: ...

    def look(self) -> None: ...

    async def settle(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` of load by `clients` clients, which pause `think` seconds between two calls. `pause` is the time
    between disruptions. Without `seconds`, the load ends after one disruption of each kind."""

    seconds: float | None
    seed: int
    clients: int = 16
    think: float = 0.15
    faulty: float = 0.35
    pause: float = 3.0


@dataclass(frozen=True, slots=True)
class Result:
    findings: list[str]
    table: str
    blows: dict[str, int]
    asked: int
    deployed: int


def soak(
    directory: Path,
    make: Callable[[Path, Judge, SoakProvider, FakeProvider], House],
    options: Options,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Starts the system in `directory`, soaks it and stops it."""
    judge, running = Judge(), dict[int, Call]()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the fakes' connections break constantly
    with SoakProvider(running) as shaky, FakeProvider(record=0) as solid:
        house = make(directory, judge, shaky, solid)
        try:
            house.start()
            chaos, asked, answered, ledger = asyncio.run(_soak(house, judge, running, options, say))
        finally:
            house.stop()
        faults = shaky.counts
    # Responses that a killed proxy sent without recording them are charged in full when their leases expire.
    if missing := answered - ledger.pop("ids"):
        judge.found(f"{len(missing)} of {len(answered)} answers have no line in the ledger: {sorted(missing)[:5]}")
    for name, watch in house.watches.items():
        for finding in watch.findings():
            judge.found(f"{name}: {finding}")
        last = watch.last_life()[-1:]
        if last and (last[0].files > _FILES_AT_REST or last[0].tasks > _TASKS_AT_REST):
            judge.found(f"at rest {name} still has {last[0].files} files and {last[0].tasks} tasks")
    shown = table(chaos.counts, faults, judge, asked, ledger, house.watches)
    return Result(judge.findings, shown, dict(chaos.counts), asked, ledger.get("configurations deployed", 0))


async def _soak(
    house: House, judge: Judge, running: dict[int, Call], options: Options, say: Any
) -> tuple[Chaos, int, set[str], dict[str, Any]]:
    """Returns the disruptions, the number of requests, the ids of whole responses, and the ledger's figures."""
    seed = random.Random(options.seed)
    numbers = itertools.count(1)

    def load_of(kinds: dict[str, Kind]) -> Load:
        wanted = calls(random.Random(seed.random()), list(house.keys), options.faulty, kinds, numbers)
        return Load(lambda: house.url, house.keys, wanted, judge, running)

    # Otherwise all clients would soon be waiting for the engine.
    loads = [(load_of(KINDS), options.clients), *((load_of(ENGINE), 2) for _ in range(house.has_engine))]
    chaos = Chaos(house.blows(), random.Random(seed.random()))
    began = time.monotonic()

    def asked() -> int:
        return sum(load.asked for load, _ in loads)

    async def looks() -> None:
        while True:
            await asyncio.to_thread(house.look)
            await asyncio.sleep(_LOOK_EVERY)

    async def says() -> None:
        while True:
            say(progress(time.monotonic() - began, options.seconds or 0.0, asked(), judge, chaos.now))
            await asyncio.sleep(_SAY_EVERY)

    async with _beside(looks()), _beside(says()):
        clients = asyncio.gather(*(load.run(count, options.think) for load, count in loads))
        doing = asyncio.create_task(chaos.run(options.seconds, options.pause))
        try:
            await asyncio.wait((clients, doing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for load, _ in loads:
                load.over = True
            doing.cancel() if clients.done() else None
        await doing
        await clients
        say("[soak] the load is over; waiting until nothing is open")
        ledger = await house.settle()
    return chaos, asked(), set().union(*(load.answered for load, _ in loads)), ledger


@contextlib.asynccontextmanager
async def _beside(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
