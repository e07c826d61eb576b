"""A container's life cycle: one start for all waiting requests, recovery after a restart, replacement on failure.

    life = Lifecycle(engine, record, environment, at_start, limits, log)
    token = await life.ready()          # wakes the container if necessary; raises NotServing

The first request starts the work and later ones join it. The work is a task of the object, so it continues when any
request is canceled. All of it is plain Python; `objects/own_container.py` has the `Engine` of Cloudflare.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from core.configuration import TOKEN_VARIABLE, fingerprint

START_TIMEOUT = 120.0
SLEEP_AFTER = 600.0
# A rollout allows fifteen minutes after SIGTERM:
# https://developers.cloudflare.com/containers/platform-details/rollouts/
SHUTDOWN_GRACE = 870.0
# The maximum seconds for one probe.
PROBE_TIMEOUT = 5.0
# Seconds between two probes. The first waits are short, because a container is ready in about one second.
FIRST_WAIT, LONGEST_WAIT, WAIT_FACTOR = 0.05, 1.0, 1.5
# Seconds. After a failed start the same error is returned for this long before the next attempt, so that a container
# that crashes immediately is not started for every request.
PAUSE_AFTER_FAILURE = 5.0
# A container that has served before and stops responding is replaced after this time.
SILENCE_LIMIT = 10.0
# Added to SHUTDOWN_GRACE when a container is replaced, so that its remaining reports can be fetched.
RETIRE_SLACK = 10.0
RETIRE_POLL = 0.05
DESTROY_TIMEOUT = 10.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
# Of the record in the storage.
_KEY = "started"

Log = Callable[..., None]


class Limits(NamedTuple):
    """Limits in seconds. `problems`: messages about invalid variables, for the log."""

    start_timeout: float = START_TIMEOUT
    sleep_after: float = SLEEP_AFTER
    shutdown_grace: float = SHUTDOWN_GRACE
    problems: tuple[str, ...] = ()


def parse_duration(text: str) -> float | None:
    """Parses `"90"`, `"90s"`, `"10m"` or `"1.5h"` into seconds; None if invalid or not positive."""
    match = _DURATION.fullmatch(text.strip().lower())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    return value if value > 0 else None


def read_limits(variable: Callable[[str], str | None]) -> Limits:
    """Returns the limits set by CONTAINER_START_TIMEOUT, CONTAINER_SLEEP_AFTER and SHUTDOWN_GRACE, or the defaults."""
    problems: list[str] = []

    def duration(name: str, default: float) -> float:
        text = variable(name)
        if not text:
            return default
        value = parse_duration(text)
        if value is None:
            problems.append(f"{name} is {text!r}, which is not a duration such as 90s or 10m; using {default:g}s.")
            return default
        return value

    start_timeout = duration("CONTAINER_START_TIMEOUT", START_TIMEOUT)
    sleep_after = duration("CONTAINER_SLEEP_AFTER", SLEEP_AFTER)
    shutdown_grace = duration("SHUTDOWN_GRACE", SHUTDOWN_GRACE)
    return Limits(start_timeout, sleep_after, shutdown_grace, tuple(problems))


class Started(NamedTuple):
    """State that outlives the object: the container's token, start time (Unix) and environment fingerprint."""

    token: str
    at: float
    fingerprint: str


class Record(Protocol):
    """Durable storage for the last start."""

    def load(self) -> Started | None: ...

    def save(self, started: Started) -> None: ...


class StoredRecord:
    """`storage`: the object's `ctx.storage`. Its key-value API is synchronous on SQLite."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def load(self) -> Started | None:
        text = self._storage.kv.get(_KEY)
        return Started(**json.loads(text)) if isinstance(text, str) else None

    def save(self, started: Started) -> None:
        self._storage.kv.put(_KEY, json.dumps(started._asdict()))


class Engine(Protocol):
    """A Durable Object's container."""

    @property
    def running(self) -> bool: ...

    def start(self, environment: Mapping[str, str]) -> None:
        """Starts the container. A failure shows later as not `running`, or is raised immediately."""

    async def ended(self) -> str:
        """Returns why the container is not running. Returns promptly once `running` is false."""
        ...

    async def probe(self, timeout: float) -> str | None:
        """Checks readiness. Returns None if the container serves, else the failure. Does not raise."""
        ...

    async def destroy(self) -> None: ...

    def terminate(self) -> None:
        """Sends SIGTERM: the container accepts nothing new and ends when its requests have finished."""
        ...

    async def set_inactivity_timeout(self, seconds: float) -> None: ...


def waits() -> Iterator[float]:
    """Yields the seconds between probes, endlessly."""
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * WAIT_FACTOR, LONGEST_WAIT)


async def until_ready(engine: Engine, limit: float) -> str | None:
    """Returns None once the container serves, or the reason if it has ended or is not ready after `limit` seconds."""
    deadline = time.monotonic() + limit
    for wait in waits():
        if not engine.running:
            return await engine.ended()
        answer = await engine.probe(max(0.05, min(PROBE_TIMEOUT, deadline - time.monotonic())))
        if answer is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            return f"it did not get ready within {limit:g} seconds ({answer})"
        await asyncio.sleep(min(wait, left))
    raise AssertionError("waits() is endless")


class NotServing(Exception):
    """The container cannot serve now; the message says why. `retry_after` is in seconds. `ending`: it is shutting down
    and will be replaced. `gone`: it has ended."""

    def __init__(
        self, message: str, retry_after: float = PAUSE_AFTER_FAILURE, *, ending: bool = False, gone: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.ending = ending
        self.gone = gone

    def again(self) -> "NotServing":
        """Returns a copy for another request: raising one exception twice would keep the frames of both."""
        return NotServing(str(self), self.retry_after, ending=self.ending, gone=self.gone)


def longest_wake(limits: Limits) -> float:
    """Returns the maximum duration of `ready()` in seconds: ending an old container and starting a new one."""
    retired = limits.shutdown_grace + RETIRE_SLACK
    return max(SILENCE_LIMIT, retired) + DESTROY_TIMEOUT + limits.start_timeout + DESTROY_TIMEOUT + PROBE_TIMEOUT


class Lifecycle:
    """Owns a container. `environment` is called at each start. `at_start` returns the part of it that only a restart
    can change. `gone` is called with the previous start when there is a new one. `owes` is called before a container
    ends that may still have reports for the ledger."""

    def __init__(
        self,
        engine: Engine,
        record: Record,
        environment: Callable[[], Mapping[str, str]],
        at_start: Callable[[], Mapping[str, str]],
        limits: Limits,
        log: Log,
        gone: Callable[[Started], None] = lambda _: None,
        owes: Callable[[], None] = lambda: None,
    ) -> None:
        self._gone = gone
        self._owes = owes
        self._engine = engine
        self._record = record
        self._environment = environment
        self._at_start = at_start
        self._limits = limits
        self._log = log
        self._token: str | None = None  # of a container known to be serving
        self._served: str | None = None  # of the last container that was
        self._failure: NotServing | None = None
        self._failed_at = 0.0
        self._awakening: asyncio.Task[str | NotServing] | None = None
        self._adoption: asyncio.Future[None] | None = None
        self._starting = False  # the record is of a start whose container may not be running yet
        self._retiring = False
        self._ending: str | None = None  # the token of a container that has announced its end
        self._wanted = False  # a request waits for the work in progress

    @property
    def state(self) -> str:
        """`running`, `sleeping`, or `unavailable` shortly after a failed start. Does not wake the container."""
        if self._recent_failure() is not None:
            return "unavailable"
        if self._engine.running and self._awakening is None:
            return "running"
        return "sleeping"

    @property
    def running(self) -> Started | None:
        """The start of the running container; None if none is running or one is being started."""
        return self._record.load() if not self._starting and self._engine.running else None

    @property
    def ended(self) -> Started | None:
        """The last container's start, if none is running or being started."""
        return self._record.load() if not self._starting and not self._engine.running else None

    @property
    def serving(self) -> str | None:
        """The token of a container known to be serving. If None, call `ready`."""
        return self._token if self._token is not None and self._engine.running else None

    async def ready(self, *, patient: bool = True) -> str:
        """Returns the token of a serving container, starting one if necessary. Raises NotServing; if not `patient`,
        immediately while a container is being replaced."""
        token = self.serving
        if token is not None:
            return token
        if self._awakening is None:
            failure = self._recent_failure()
            if failure is not None:
                raise failure.again()
            self._token = None  # `running` is also true for the next container
            self._retiring = self._ends() or self._is_outdated()
            self._awakening = asyncio.create_task(self._awake())
        self._wanted = True
        if self._retiring and not patient:
            raise NotServing("it is about to end, and another one is started then", retry_after=1, ending=True)
        outcome = await asyncio.shield(self._awakening)
        if isinstance(outcome, NotServing):
            raise outcome.again()
        return outcome

    def adopt(self) -> None:
        """Called when the object is created, because the inactivity timeout of a running container is lost by then."""
        if self._engine.running:
            self._adoption = asyncio.ensure_future(self._sleep_when_idle())

    def doubt(self) -> None:
        """A request could not reach the container. The next request checks whether it still serves."""
        self._token = None

    def suspect(self) -> None:
        """The container stopped responding. If it hangs, it is ended, and so are the requests that wait for it."""
        self._token = None
        if self._awakening is None and self._engine.running:
            self._retiring = self._wanted = False
            self._awakening = asyncio.create_task(self._awake())

    def ending(self, token: str) -> None:
        """This container refused a request because it is shutting down."""
        self._ending, self._token = token, None
        self._owes()

    def _ends(self) -> bool:
        started = self._record.load() if self._engine.running else None
        return started is not None and started.token == self._ending

    def _is_outdated(self) -> bool:
        """Whether the running container was started with other settings than the deployed ones. A new image is rolled
        out by the platform."""
        started = self._record.load() if self._engine.running else None
        return started is not None and started.fingerprint != fingerprint(self._at_start(), started.token)

    def _recent_failure(self) -> NotServing | None:
        if self._failure is not None and time.monotonic() - self._failed_at < PAUSE_AFTER_FAILURE:
            return self._failure
        return None

    async def _awake(self) -> str | NotServing:
        """Runs the shared work. Returns a failure instead of raising it, as no request may be left to catch it."""
        began = time.monotonic()
        try:
            token = await self._find_running()
            if token is None and not self._wanted:
                return NotServing("it did not respond and was ended", retry_after=1)
            token = token or await self._start()
        except Exception as error:  # noqa: BLE001 - returned to all waiting requests
            failure = error if isinstance(error, NotServing) else NotServing(f"The container did not start: {error}")
            self._failure, self._failed_at, self._token = failure, time.monotonic(), None
            self._log("error", "container_not_serving", reason=str(failure), seconds=round(self._failed_at - began, 3))
            return failure
        else:
            self._failure, self._token, self._served = None, token, token
            return token
        finally:
            self._awakening = None
            self._retiring = self._wanted = False

    async def _find_running(self) -> str | None:
        """Returns the token of a running container, as after a restart of the object, or None to start one."""
        if not self._engine.running:
            return None
        started = self._record.load()
        if started is None:
            self._log("warning", "container_replaced", reason="it runs, but its token is lost")
            await self._destroy()
            return None
        if self._retiring:
            await self._retire()
            return None
        still_starting = started.at + self._limits.start_timeout - time.time()
        if started.token == self._served:
            still_starting = 0.0
        failure = await until_ready(self._engine, max(SILENCE_LIMIT, min(still_starting, self._limits.start_timeout)))
        if failure is None:
            self._log("info", "container_found_running")
            await self._sleep_when_idle()
            return started.token
        self._log("warning", "container_replaced", reason=failure)
        if self._engine.running:
            await self._destroy()
        return None

    async def _retire(self) -> None:
        """Lets the container finish its requests (up to SHUTDOWN_GRACE seconds) and report to the ledger."""
        began = time.monotonic()
        if self._ends():  # a second SIGTERM would abort its requests
            self._log("info", "container_retiring", reason="it has been told to end")
        else:
            self._log("info", "container_retiring", reason="its settings are not the deployed ones")
            self._owes()
            self._engine.terminate()
        end = began + self._limits.shutdown_grace + RETIRE_SLACK
        # `monitor()` would report the end, but it keeps the object in memory.
        while self._engine.running and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(RETIRE_POLL)
        in_time = not self._engine.running
        if not in_time:
            await self._destroy()
        self._log("info", "container_retired", in_time=in_time, seconds=round(time.monotonic() - began, 3))
        self._retiring = False

    async def _start(self) -> str:
        self._starting = True
        try:
            return await self._start_anew()
        finally:
            self._starting = False

    async def _start_anew(self) -> str:
        began = time.monotonic()
        token = secrets.token_urlsafe(32)
        environment = dict(self._environment())
        before = self._record.load()
        if before is not None:
            self._gone(before)
        # Saved first, so that the token is known if the object restarts during the start.
        self._record.save(Started(token, time.time(), fingerprint(self._at_start(), token)))
        self._log("info", "container_start", variables=sorted(environment))
        self._engine.start({**environment, TOKEN_VARIABLE: token})
        failure = await until_ready(self._engine, self._limits.start_timeout)
        if failure is not None:
            if self._engine.running:
                await self._destroy()
            raise NotServing(f"The container did not start: {failure}")
        self._log("info", "container_ready", seconds=round(time.monotonic() - began, 3))
        await self._sleep_when_idle()
        return token

    async def _sleep_when_idle(self) -> None:
        """The timeout is lost when the object restarts, so it is set whenever a container is found or started."""
        try:
            await self._engine.set_inactivity_timeout(self._limits.sleep_after)
        except Exception as error:  # noqa: BLE001 - the container serves anyway, with the platform's default timeout
            self._log("warning", "container_no_inactivity_timeout", reason=str(error))

    async def _destroy(self) -> None:
        try:
            await asyncio.wait_for(self._engine.destroy(), DESTROY_TIMEOUT)
        except TimeoutError:
            raise NotServing(f"the old container did not end within {DESTROY_TIMEOUT:g} seconds") from None
