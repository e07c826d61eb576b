"""Runs the engine: LiteLLM's proxy as a child process on loopback, started on first use and restarted when it dies.

States: idle → starting → running. After a death it returns to starting, with growing pauses between attempts. Requests
that need the engine wait for it; others are not affected.
"""

import asyncio
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from ..config.load import Config
from ..config.providers import JSON, Address
from ..observability import log, metrics
from ..observability.log import hide_secrets
from . import packages
from .configuration import configuration, environment, modules

POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# After running this long, a death does not count as part of a crash loop.
SETTLED_SECONDS = 60.0
STOP_SECONDS = 5.0
# A start takes 45 s on a quarter of a core without bytecode. After this long it has failed.
LONGEST_START_SECONDS = 180.0
# How long to wait for remaining output after the engine has died.
OUTPUT_SECONDS = 1.0
# Far longer than the client keeps an idle connection. LiteLLM's own limit of 5 s is shorter than that, so a request
# could be sent on a connection that the engine was closing at that moment.
IDLE_CONNECTION_SECONDS = 300
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


class EngineUnavailable(Exception):
    """The engine is not available. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def engine_address(port: int, key: str) -> Address:
    """Return the engine's address on loopback."""
    return Address(f"http://127.0.0.1:{port}/v1", {**JSON, "authorization": f"Bearer {key}"})


class Engine:
    """Keeps at most one child process alive.

    `own`: the proxy's environment. `start_timeout`: seconds that a request waits for the engine. `command`: replaces
    the installed `litellm` in tests. `on_change` is called when the state has changed.
    """

    def __init__(
        self, config: Config, own: Mapping[str, str], *, start_timeout: float, command: Sequence[str] | None = None
    ) -> None:
        self._config = config
        self._command = command
        self._own = own
        self._start_timeout = start_timeout
        self._keeper: asyncio.Task | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._running = asyncio.Event()
        self._settled = asyncio.Event()  # it is running or pausing, so there is nothing to wait for
        self._address: Address | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._last_death = ""
        self._again_at = 0.0
        self._pausing = False
        self._fetching = False

    @property
    def state(self) -> str:
        """`idle`, `starting` or `running`."""
        if self._running.is_set():
            return "running"
        return "idle" if self._keeper is None else "starting"

    @property
    def address(self) -> Address | None:
        """None while it is not running."""
        return self._address if self._running.is_set() else None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.returncode is None else None

    def start(self) -> None:
        """Start the engine and keep it running. Returns at once. Further calls do nothing."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
            self.on_change()

    async def ready(self, patience: float) -> Address:
        """Return the engine's address once it responds.

        Raises EngineUnavailable after the start timeout or `patience` seconds, whichever is shorter, and at once during
        the pause after a crash.
        """
        if self._running.is_set() and self._address:
            return self._address
        self.start()
        if self._pausing:
            raise self._unavailable()
        try:
            await asyncio.wait_for(self._settled.wait(), min(self._start_timeout, patience * 0.95))
        except TimeoutError:
            raise self._unavailable() from None
        if not self._running.is_set():
            raise self._unavailable()
        assert self._address is not None
        return self._address

    def _unavailable(self) -> EngineUnavailable:
        wait = max(1.0, self._again_at - time.monotonic())
        if self._pausing:
            return EngineUnavailable(
                f"The translation engine {self._last_death}; it starts again in {wait:.0f} s.", wait
            )
        if self._fetching:
            return EngineUnavailable("The translation engine's packages are being fetched, this once.", 10.0)
        return EngineUnavailable("The translation engine is still starting.", 5.0)

    async def stop(self) -> None:
        """Stop the engine and do not restart it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        with tempfile.TemporaryDirectory(prefix="litellm-engine-") as folder:
            while True:
                began = time.monotonic()
                try:
                    if self._command is None and not packages.installed():
                        await self._fetch_packages()
                    await self._run_once(Path(folder))
                except packages.PackagesMissing as error:
                    self._last_death = f"could not be started: {error}"
                except OSError as error:
                    self._last_death = f"could not be started ({error.strerror})"
                except json.JSONDecodeError:
                    self._last_death = f"could not be started ({CREDENTIALS} is neither a path nor valid JSON)"
                self._running.clear()
                self._settled.clear()
                lived = time.monotonic() - began
                pause = FIRST_PAUSE_SECONDS if lived > SETTLED_SECONDS else pause
                metrics.engine_restarts.add()
                log.error("engine_died", reason=self._last_death, lived_seconds=round(lived, 1), pause_seconds=pause)
                self._again_at = time.monotonic() + pause
                self._pausing = pause > FIRST_PAUSE_SECONDS
                if self._pausing:
                    self._settled.set()
                await asyncio.sleep(pause)
                self._pausing = False
                self._settled.clear()
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _fetch_packages(self) -> None:
        self._fetching = True
        try:
            await packages.fetch()
        finally:
            self._fetching = False

    async def _run_once(self, folder: Path) -> None:
        """Run the child process until it dies."""
        key, port = "sk-engine-" + secrets.token_hex(24), _free_port()
        path = folder / "config.yaml"
        _write_private(path, configuration(self._config))
        for module in modules(self._config):
            link = folder / module.name
            if not link.is_symlink():
                link.symlink_to(module)
        surroundings = environment(self._own, key)
        credentials = surroundings.get(CREDENTIALS, "").strip()
        if credentials.startswith("{"):
            json.loads(credentials)
            _write_private(folder / "google.json", credentials)
            surroundings[CREDENTIALS] = str(folder / "google.json")
        began = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            *(self._command or _command()),
            *("--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"),
            *("--keepalive_timeout", str(IDLE_CONNECTION_SECONDS)),
            cwd=folder,
            env=surroundings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._child = child
        log.info("engine_starting", pid=child.pid)
        tail: list[str] = []
        reading = asyncio.create_task(_read_output(child, tail))
        address = engine_address(port, key)
        try:
            if await self._comes_up(child, address):
                log.info("engine_running", pid=child.pid, start_seconds=round(time.monotonic() - began, 1))
                self._address = address
                self._running.set()
                self._settled.set()
                self.on_change()
            else:
                _signal_group(child.pid, signal.SIGKILL)
            await child.wait()
            started = self._running.is_set()
            self._running.clear()
            self.on_change()
            self._settled.clear()
            self._last_death = f"ended with exit code {child.returncode}"
            # Processes that it started may hold its output open.
            _signal_group(child.pid, signal.SIGKILL)
            await asyncio.wait((reading,), timeout=OUTPUT_SECONDS)
            if not started and tail:
                log.error("engine_output", lines=[hide_secrets(line) for line in tail[-20:]])
        finally:
            self._running.clear()
            self._settled.clear()
            reading.cancel()
            await _end(child)

    async def _comes_up(self, child: asyncio.subprocess.Process, address: Address) -> bool:
        """Wait until the engine responds. Return False if it neither responds nor exits, so that another is started."""
        limit = max(LONGEST_START_SECONDS, 2 * self._start_timeout)
        try:
            return await asyncio.wait_for(_answers(child, address), limit)
        except TimeoutError:
            log.error("engine_never_answered", pid=child.pid, seconds=limit)
            return False


def _die_with_parent() -> None:
    """Run in the child before exec: ask Linux to kill it if the proxy is killed.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _command() -> list[str]:
    """Return the `litellm` command of this Python environment."""
    beside = Path(sys.executable).parent / "litellm"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "litellm.proxy.proxy_cli"]


async def _answers(child: asyncio.subprocess.Process, address: Address) -> bool:
    """Wait until the engine itself responds on its port. Return False if it dies first."""
    ready, models = address.base.removesuffix("/v1") + "/health/readiness", address.base + "/models"
    strangers = {"authorization": "Bearer sk-" + secrets.token_hex(24)}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

        async def says_yes(url: str, headers: Mapping[str, str]) -> bool:
            async with session.get(url, headers=headers) as response:
                return response.status == 200

        while child.returncode is None:
            try:
                # Another process that took the port first would not know the engine's key.
                if (
                    await says_yes(ready, {})
                    and await says_yes(models, address.headers)
                    and not await says_yes(models, strangers)
                ):
                    return True
            except (aiohttp.ClientError, TimeoutError):
                pass  # not listening yet
            await asyncio.sleep(POLL_SECONDS)
    return False


async def _read_output(child: asyncio.subprocess.Process, tail: list[str]) -> None:
    """Keep the last lines in case the engine fails to start. The rest is dropped because it may quote prompts."""
    assert child.stdout is not None
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError:
            continue  # longer than the buffer
        if not line:
            return
        tail.append(line.decode("utf-8", "replace").rstrip()[:500])
        del tail[:-50]


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child and all processes that it started."""
    if child.returncode is None:
        _signal_group(child.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("engine_killed", pid=child.pid)
    _signal_group(child.pid, signal.SIGKILL)
    await child.wait()


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
