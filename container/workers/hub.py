"""The process that keeps what exists once for all workers: the ledger, the engine, the configuration, the state of
deployments, the count of wrong keys, and the sums of the metrics."""

import asyncio
import os
import pickle
import signal
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.decision import Dialect
from worker.core.ledger.settle import Report

from ..accounting.ledger import LocalLedger
from ..config.document import CannotServe
from ..config.load import Config
from ..engine import Engine
from ..handlers.public import Sums
from ..observability import log, metrics
from ..proxy.configurations import ConfigWatch, engine_for, read_again
from ..proxy.gateway import router_for
from ..proxy.process import Launch, Watchdog, announce, calm_garbage_collector
from ..proxy.startup import Claim, declared, open_ledger, warn_of_prices
from ..routing.shared_health import HealthBoard
from ..server.auth import count_failed_keys
from ..server.settings import Settings
from ..stores import LedgerUnavailable
from .link import Answer, Link, LinkLost, connect, from_a_worker

# The supervisor sends a worker's number with its end of the socket.
NUMBER = struct.Struct("!I")
# A worker that has not taken a configuration by then, or cannot be asked for its metrics, is left out.
_TAKE_SECONDS = 30.0
_ASK_SECONDS = 2.0
_AGAIN_SECONDS = 1.0


class Setup(NamedTuple):
    """What a worker needs to serve a configuration. `config`: None for the one that it was forked with.

    `slots`: of its deployments on the board, by their ids. `dialect`: None without a ledger. `engine`: its number,
    state and address.
    """

    generation: int
    config: Config | None
    slots: Mapping[str, int]
    dialect: Dialect | None
    alone: bool
    engine: tuple[int, str, Any]


class _Worker:
    """`generations`: of the configurations that it still serves. `recorded`: its metrics when it was last asked."""

    def __init__(self, number: int, instance: str) -> None:
        self.number = number
        self.instance = instance
        self.link: Link | None = None
        self.pid = 0
        self.ready = False
        self.generations: set[int] = set()
        self.recorded: metrics.Recorded | None = None
        self.gone = asyncio.Event()


class Slots:
    """Gives each deployment a place on the board. A deployment that has not changed keeps its place."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board
        self._free = list(range(board.slots - 1, -1, -1))
        self.used: dict[int, dict[str, int]] = {}  # by generation

    def assign(self, generation: int, config: Config, before: Config | None) -> Mapping[str, int]:
        """Raises CannotServe if the board is full."""
        known = self.used[generation - 1] if before else {}
        kept: dict[Any, list[int]] = defaultdict(list)
        for d in before.deployments if before else ():
            kept[repr(replace(d, id="")), d.api_key].append(known[d.id])
        found: dict[str, int] = {}
        new = []
        for d in config.deployments:
            slots = kept[repr(replace(d, id="")), d.api_key]
            if slots:
                found[d.id] = slots.pop(0)
            else:
                new.append(d.id)
        if len(new) > len(self._free):
            raise CannotServe(
                f"The config has {len(new)} new deployments, and there is room for {len(self._free)} while the proxy "
                "runs. Restart it."
            )
        for id in new:
            found[id] = self._free.pop()
            self._board.clear(found[id])
        self.used[generation] = found
        return found

    def keep(self, generations: Iterable[int]) -> None:
        """Free the places that only other generations use."""
        for generation in self.used.keys() - set(generations):
            slots = set(self.used.pop(generation).values())
            self._free += slots - {slot for others in self.used.values() for slot in others.values()}

    def all(self) -> set[int]:
        return {slot for slots in self.used.values() for slot in slots.values()}


class Hub:
    """`count`: the number of workers. `on_ready` is called once all of them serve."""

    def __init__(self, launch: Launch, board: HealthBoard, count: int, on_ready: Callable[[], None]) -> None:
        config, settings = launch.config, launch.settings
        self.config = config
        self._settings = settings
        self._launch = launch
        self._board = board
        self._count = count
        self._on_ready: Callable[[], None] | None = on_ready
        self._slots = Slots(board)
        self._slots.assign(0, config, None)
        self._generation = 0
        self._claim: Claim | None
        self._ledger: LocalLedger | None
        self._claim, self._ledger = open_ledger(config, settings, workers=True)
        self._engines = {0: Engine(config, config.environment, start_timeout=settings.engine_start_timeout)}
        self._engine_of = {0: 0}  # generation -> number of its engine
        self._watch_engine(0)
        self._count_failed_key = count_failed_keys(settings.failed_keys_per_minute)
        self._workers: dict[int, _Worker] = {}
        self._serial = 0
        self._departed: metrics.Recorded | None = None
        self._tasks: set[asyncio.Task] = set()
        self._changing = asyncio.Lock()
        self.watch = ConfigWatch(launch.path, self._reload, watches_file=settings.config_watch)

    @property
    def _engine(self) -> Engine:
        return self._engines[self._engine_of[self._generation]]

    async def start(self) -> None:
        if self._ledger is not None:
            warn_of_prices(self.config, self._settings, router_for(self.config))
            await self._ledger.start()
        if self.config.needs_engine:
            self._engine.start()

    async def close(self) -> None:
        """Close after the last worker has ended."""
        await self.watch.close()
        for worker in [*self._workers.values()]:
            await worker.gone.wait()
        while self._tasks:  # the reservations of workers that have died
            await asyncio.wait([*self._tasks], timeout=_ASK_SECONDS)
            for task in self._tasks:
                task.cancel()
        if self._ledger is not None:
            await self._ledger.close()
        if self._claim is not None:
            self._claim.close()
        for engine in self._engines.values():
            await engine.stop()

    async def welcome(self, number: int, end: socket.socket) -> None:
        """Serve a new worker. It takes the place of the one that had its number."""
        self._serial += 1
        before = self._workers.get(number)
        if before is not None:
            await before.gone.wait()  # its last reports come first
        instance = f"{self._ledger.instance if self._ledger else ''}-{self._serial}"
        worker = self._workers[number] = _Worker(number, instance)
        worker.link = await connect(
            end,
            partial(self._serve, worker),
            lambda: self._left(worker),
            from_a_worker,
        )

    def _serve(self, worker: _Worker, kind: str, given: tuple[Any, ...], answer: Answer | None) -> Any:
        """Answer a worker: the most frequent calls first."""
        match kind:
            case "admit":
                ledger, request = self._used_ledger(), AdmissionRequest(*given[0])
                if answer is not None and ledger.admission(request, answer):
                    return answer
                return ledger.admit(request, given[1])
            case "wait":
                return self._used_ledger().admit(AdmissionRequest(*given[0]), given[1])
            case "report":
                return self._used_ledger().later(Report(*given[0]))
            case "settled":
                return self._used_ledger().settled()
            case "authenticate":
                return self._used_ledger().authenticate(*given)
            case "run":
                make, arguments, named = given
                return self._used_ledger().run(make, *arguments, **named)
            case "usable":
                return self._used_ledger().usable()
            case "failed_key":
                return self._count_failed_key(*given)
            case "engine":
                number, patience = given
                return self._ready_engine(number, patience)
            case "metrics":
                return self._sums()
            case "hello":
                return self._hello(worker, *given)
            case "ready":
                return self._is_ready(worker)
            case "retired":
                worker.generations.discard(given[0])
                self._tidy()
            case "stopping":
                if self._ledger is not None:
                    self._ledger.refuse_waiting()
            case "bye":
                return None
            case _:
                raise ValueError(f"{kind} is not known")

    def _used_ledger(self) -> LocalLedger:
        if self._ledger is None:
            raise LedgerUnavailable("There is no ledger.")
        return self._ledger

    async def _hello(self, worker: _Worker, pid: int) -> tuple[str, bytes]:
        async with self._changing:
            worker.pid = pid
            worker.generations.add(self._generation)
            return worker.instance, pickle.dumps(self._setup(), 5)

    def _is_ready(self, worker: _Worker) -> None:
        worker.ready = True
        if self._on_ready is not None and sum(one.ready for one in self._workers.values()) == self._count:
            self._on_ready()
            self._on_ready = None

    def _setup(self) -> Setup:
        ledger, number = self._ledger, self._engine_of[self._generation]
        engine = self._engines[number]
        return Setup(
            self._generation,
            self.config if self._generation else None,
            self._slots.used[self._generation],
            ledger.dialect if ledger else None,
            ledger.alone if ledger else True,
            (number, engine.state, engine.address),
        )

    def _left(self, worker: _Worker) -> None:
        """A worker has ended, by itself or not: what it left open is resolved."""
        worker.link = None
        worker.generations.clear()
        worker.gone.set()
        self._board.left(worker.number, self._slots.all())
        if worker.recorded is not None:
            self._departed = metrics.ended(worker.recorded, self._departed)
        if self._workers.get(worker.number) is worker:
            del self._workers[worker.number]
        self._tidy()
        if self._ledger is not None:
            self._run(self._end(self._ledger, worker))

    async def _end(self, ledger: LocalLedger, worker: _Worker) -> None:
        while True:
            try:
                ended = await ledger.end(worker.instance)
            except LedgerUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if ended:
                log.warning("reservations_ended", worker=worker.number, reservations=ended, effect="charged in full")
            return

    async def _ready_engine(self, number: int, patience: float) -> tuple[str, dict[str, str]]:
        base, headers = await self._engines[number].ready(patience)
        return base, dict(headers)

    def _watch_engine(self, number: int) -> None:
        engine = self._engines[number]

        def tell() -> None:
            for worker in self._workers.values():
                if worker.link is not None:
                    worker.link.tell("engine", number, engine.state, engine.address)

        engine.on_change = tell

    async def _sums(self) -> Sums:
        async def ask(worker: _Worker) -> int:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    assert worker.link is not None
                    families, process, running = await worker.link.call("recorded")
                    worker.recorded = metrics.Recorded(families, process and metrics.Process(*process))
                    return running
            except (LinkLost, TimeoutError):
                return 0  # what it said last counts

        workers = [worker for worker in self._workers.values() if worker.ready and worker.link is not None]
        running = sum(await asyncio.gather(*map(ask, workers)))
        found = [metrics.recorded(), *(worker.recorded for worker in workers if worker.recorded)]
        found += [self._departed] if self._departed else []
        ledger = self._ledger
        return Sums(
            metrics.text_of_all(found), running, ledger.unsettled if ledger else 0, ledger.open if ledger else 0
        )

    async def _reload(self) -> None:
        async with self._changing:
            await self._take()

    async def _take(self) -> None:
        """Give a changed configuration to all workers. The first one tries it: if it cannot, nothing has changed."""
        before = self.config, self._generation
        config = await read_again(self._launch.path, self._launch.environment, self._settings, self.config)
        if config is None:
            return
        running = self._engine
        engine = await engine_for(config, self.config, running, self._settings)
        generation = before[1] + 1
        try:
            self._slots.assign(generation, config, self.config)
            if self._ledger is None:
                self._claim, self._ledger = open_ledger(config, self._settings, workers=True)
                if self._ledger is not None:
                    await self._ledger.start()
            number = self._engine_of[before[1]]
            if engine is not running:
                number = generation
                self._engines[number] = engine
                self._watch_engine(number)
            self._engine_of[generation] = number
            self.config, self._generation = config, generation
            setup = pickle.dumps(self._setup(), 5)
            workers = [worker for worker in self._workers.values() if worker.generations]
            if workers:
                await self._gives(workers[0], generation, setup)
        except BaseException:
            self.config, self._generation = before
            self._tidy()
            raise
        if self._ledger is not None:
            self._ledger.configure(config.options.policy, declared(config))
            warn_of_prices(config, self._settings, router_for(config))
        results = await asyncio.gather(
            *(self._gives(worker, generation, setup) for worker in workers[1:]), return_exceptions=True
        )
        for worker, result in zip(workers[1:], results, strict=True):
            if isinstance(result, BaseException) and worker.link is not None:
                log.error("worker_without_config", worker=worker.number, error=type(result).__name__)
                os.kill(worker.pid, signal.SIGKILL)  # the next one starts with it
        announce(config)
        log.info("config_reloaded", config=config.name, models=len(config.groups), engine=engine.state)
        self._tidy()

    async def _gives(self, worker: _Worker, generation: int, setup: bytes) -> None:
        assert worker.link is not None
        worker.generations.add(generation)
        try:
            async with asyncio.timeout(_TAKE_SECONDS):
                await worker.link.call("take", setup)
        except BaseException:
            worker.generations.discard(generation)
            raise

    def _tidy(self) -> None:
        """Stop engines and free places on the board that no worker uses any more."""
        used = {self._generation}.union(*(worker.generations for worker in self._workers.values()))
        self._slots.keep(used)
        self._engine_of = {one: number for one, number in self._engine_of.items() if one in used}
        for number in self._engines.keys() - self._engine_of.values():
            self._run(self._engines.pop(number).stop())

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def keep(hub_of: Callable[[], Hub], channel: socket.socket, settings: Settings) -> None:
    """Run the hub until SIGUSR1, which the supervisor sends after the last worker has ended. Raises CannotServe."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hub = hub_of()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's
    loop.add_signal_handler(signal.SIGUSR1, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hub.watch.ask)
    watchdog = Watchdog(settings.watchdog_seconds)
    channel.setblocking(False)
    coming: set[asyncio.Task] = set()

    def arrived() -> None:
        data, ends, _, _ = socket.recv_fds(channel, NUMBER.size, 1)
        if not ends:  # the supervisor has ended
            loop.remove_reader(channel)
            stop.set()
            return
        task = loop.create_task(hub.welcome(NUMBER.unpack(data)[0], socket.socket(fileno=ends[0])))
        coming.add(task)
        task.add_done_callback(coming.discard)

    await hub.start()
    calm_garbage_collector()
    watchdog.start()
    loop.add_reader(channel, arrived)
    hub.watch.start()
    try:
        await stop.wait()
    finally:
        await hub.close()
        watchdog.stop()
        log.info("stopped")
