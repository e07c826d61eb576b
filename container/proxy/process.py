"""The serving process: server, signals, watchdog and cores."""

import asyncio
import ctypes
import gc
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config.document import CannotServe
from ..config.load import Config
from ..observability import log
from ..server.http import Handler, HttpServer, cannot_listen
from ..server.settings import Settings

if TYPE_CHECKING:
    from ..records.traces import Tracing


class Launch(NamedTuple):
    """What `serve` starts with. `path`: of the config file. `environment`: without what the file sets. `listening`: the
    bound sockets."""

    config: Config
    path: Path
    settings: Settings
    environment: Mapping[str, str]
    listening: list[socket.socket]


EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_LOOKS_PER_LIMIT = 5


class Watchdog:
    """Ends the process when the event loop hangs for `limit` seconds. Ignores a suspended process or machine."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._turned = time.monotonic()
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the running loop."""
        self._turn(asyncio.get_running_loop())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turned = time.monotonic()
        self._timer = loop.call_later(self._limit / _LOOKS_PER_LIMIT, self._turn, loop)

    def _watch(self) -> None:
        pause = self._limit / _LOOKS_PER_LIMIT
        silent_looks = 0
        while True:
            seen, asleep = self._turned, time.monotonic()
            if self._stopped.wait(pause):
                return
            # A late wakeup means that this thread was suspended, too.
            late = time.monotonic() - asleep > 3 * pause
            silent_looks = 0 if late or self._turned != seen else silent_looks + 1
            if silent_looks > _LOOKS_PER_LIMIT:
                log.error("hung", silent_seconds=round(time.monotonic() - self._turned, 1), effect="the process ends")
                log.flush()
                os._exit(EXIT_CODE)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
GARBAGE_THRESHOLDS = (50_000, 20, 20)


class Running:
    """Runs the server and handles signals.

    One of `ends` sets `stop`, and running requests may finish. A second signal sets `at_once`, which ends them.
    """

    def __init__(
        self,
        handler: Handler,
        max_header_bytes: int,
        settings: Settings,
        listening: list[socket.socket],
        *,
        on_hangup: Callable[[], None] | None = None,
        ends: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT),
    ) -> None:
        self.stop, self.at_once = asyncio.Event(), asyncio.Event()
        self._server = HttpServer(handler, max_header_bytes)
        self._settings = settings
        self._listening = listening
        self._watchdog = Watchdog(settings.watchdog_seconds)
        self._on_signal = dict.fromkeys(ends, self._end)
        if on_hangup is not None:
            self._on_signal[signal.SIGHUP] = on_hangup

    def _end(self) -> None:
        (self.at_once if self.stop.is_set() else self.stop).set()

    async def __aenter__(self) -> "Running":
        """Raises CannotServe."""
        loop = asyncio.get_running_loop()
        for number, work in self._on_signal.items():
            loop.add_signal_handler(number, work)
        calm_garbage_collector()
        self._watchdog.start()
        try:
            await self._server.start(self._listening)
        except OSError as error:  # another process has started to listen since the address was bound
            self._watchdog.stop()
            raise cannot_listen(self._settings.host, self._settings.port, error) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._server.stop(self._settings.shutdown_grace, self.at_once)
        finally:
            self._watchdog.stop()


def tracing_of(settings: Settings) -> "Tracing | None":
    """Raises CannotServe."""
    if settings.tracing is None:
        return None
    from ..records.traces import Tracing  # imported only if tracing is on

    try:
        return Tracing(settings.tracing)
    except OSError as error:
        raise CannotServe(f"OTEL_EXPORTER_OTLP_CERTIFICATE cannot be used: {error}.") from None


async def close(tracing: "Tracing | None") -> None:
    """The last step of shutdown."""
    if tracing:
        await asyncio.to_thread(tracing.close)
    log.info("stopped")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # no handlers run while the interpreter exits


def calm_garbage_collector() -> None:
    """Exempt startup objects from garbage collection and run it less often.

    Requests create few cycles, so this costs little memory and saves a tenth of the CPU per request (bench/).
    """
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):  # glibc only: return memory freed during startup, mainly LiteLLM's model map
        _LIBC.malloc_trim(0)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def say_listening(addresses: Iterable[Sequence[Any]], config: Config) -> None:
    """`addresses`: what `getsockname` returned."""
    for address in addresses:
        log.info("listening", host=address[0], port=address[1], config=config.name, models=len(config.groups))


def announce(config: Config) -> None:
    """Log what an operator should know about a new config, in the format that it asks for."""
    log.set_format(config.options.log_format)
    for problem in config.problems:
        log.warning("config", problem=str(problem)) if problem.level == "warning" else None
    if not config.deployments:  # LiteLLM starts, too: it may have models in its database
        log.error("no_models", config=config.name, effect="Every request for a model gets 404.")
    off: dict[str, list[str]] = {}
    for d in config.deployments:
        for need in d.off:
            off.setdefault(need, []).append(d.group)
    for need, groups in off.items():
        log.warning("models_off", set=need.replace("|", " or "), models=sorted(set(groups)))


# How many cores this process may use: those that it may run on, and no more than its container's share of time.

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def cores(root: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUP) -> int:
    """`root`: where control groups are mounted. `own`: this process's, in the format of cgroups(7).

    A share of one core and a half counts as two, because one process cannot use it.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for share in _shares(root, own) if share > 0]
    return max(1, min([there, *map(math.ceil, shares)]))


def _shares(root: Path, own: Path) -> list[float]:
    """Return the limits in cores: of the control group itself and of those that it is in.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max), and version 1's cpu.cfs_quota_us
    """
    found = []
    for folder in _folders(root, own):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            except OSError:
                continue
        try:
            found.append(int(quota) / int(period))
        except (ValueError, ZeroDivisionError):  # "max"
            continue
    return found


def _folders(root: Path, own: Path) -> list[Path]:
    """In a container its own control group is usually mounted as the root."""
    found = [root, root / "cpu", root / "cpu,cpuacct"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        base = root / controllers if controllers else root
        folder = base / path.lstrip("/")
        found += [one for one in (folder, *folder.parents) if one == base or base in one.parents]
    return found
