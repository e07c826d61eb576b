"""One container's way from asleep to serving, shared by all requests that wait for it.

    life = Lifecycle(engine, record, environment, at_start, limits, log)
    token = await life.ready()          # wakes the container if need be; raises NotServing

Whoever comes first starts the work, later ones join it, and nobody's departure ends it: it is a task of the
object's own.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping

from core.container_environment import TOKEN_VARIABLE, fingerprint

from .readiness import PROBE_TIMEOUT, Engine, Record, Started, until_ready
from .settings import Limits

# Seconds. After a failed start the same answer is given for this long before the next try: a container that dies
# at once must not be started with every request.
PAUSE_AFTER_FAILURE = 5.0
# A container that served before and does not answer any more gets this long before it is replaced.
SILENCE_LIMIT = 10.0
# One that is replaced gets this long on top of SHUTDOWN_GRACE: what it owes the ledger is fetched meanwhile.
RETIRE_SLACK = 10.0
RETIRE_POLL = 0.05
DESTROY_TIMEOUT = 10.0

Log = Callable[..., None]


class NotServing(Exception):
    """The container cannot serve now. The message says why; `retry_after` in seconds. `ending`: it comes to its end,
    and another one is started then; `gone`: it has come to it."""

    def __init__(
        self, message: str, retry_after: float = PAUSE_AFTER_FAILURE, *, ending: bool = False, gone: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.ending = ending
        self.gone = gone

    def again(self) -> "NotServing":
        """The same for another request: raising one exception twice would keep the frames of both."""
        return NotServing(str(self), self.retry_after, ending=self.ending, gone=self.gone)


def longest_wake(limits: Limits) -> float:
    """Seconds after which `ready()` has answered, whatever happened: an old container given up, a new one started."""
    retired = limits.shutdown_grace + RETIRE_SLACK
    return max(SILENCE_LIMIT, retired) + DESTROY_TIMEOUT + limits.start_timeout + DESTROY_TIMEOUT + PROBE_TIMEOUT


class Lifecycle:
    """The one owner of a container. `environment` is asked at each start; `at_start`: what of it only another start can
    change; `gone` is told of the start before, when there is another one; `owes` is called when a container is about to
    end that may still have something for the ledger."""

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
        self._token: str | None = None  # of a container known to serve
        self._served: str | None = None  # of the last one that did
        self._failure: NotServing | None = None
        self._failed_at = 0.0
        self._awakening: asyncio.Task[str | NotServing] | None = None
        self._adoption: asyncio.Future[None] | None = None
        self._starting = False  # the record is of a start whose container may not be there yet
        self._retiring = False
        self._ending: str | None = None  # the token of a container that has said that it is about to end
        self._wanted = False  # by someone who waits for the work that is under way

    @property
    def state(self) -> str:
        """`running`, `sleeping`, or `unavailable` shortly after a start that failed. Wakes nothing."""
        if self._recent_failure() is not None:
            return "unavailable"
        if self._engine.running and self._awakening is None:
            return "running"
        return "sleeping"

    @property
    def running(self) -> Started | None:
        """The start of the container that runs; None while none does, or one is just being started."""
        return self._record.load() if not self._starting and self._engine.running else None

    @property
    def ended(self) -> Started | None:
        """The start of the container that ran last, while none runs or is being started."""
        return self._record.load() if not self._starting and not self._engine.running else None

    @property
    def serving(self) -> str | None:
        """The token of a container that is known to serve; `ready` finds out where it is None."""
        return self._token if self._token is not None and self._engine.running else None

    async def ready(self, *, patient: bool = True) -> str:
        """The token of a container that serves, started if need be. Raises NotServing; at once, where not `patient`,
        while one that is being replaced has its time to end."""
        token = self.serving
        if token is not None:
            return token
        if self._awakening is None:
            failure = self._recent_failure()
            if failure is not None:
                raise failure.again()
            self._token = None  # the engine says `running` of the next container, too
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
        """Called when the object is made: the timeout of a container that already runs is forgotten by then."""
        if self._engine.running:
            self._adoption = asyncio.ensure_future(self._sleep_when_idle())

    def doubt(self) -> None:
        """A request could not get through to the container: the next one asks first whether it still serves."""
        self._token = None

    def suspect(self) -> None:
        """It does not answer any more: one that hangs is ended, and what waits for it with it."""
        self._token = None
        if self._awakening is None and self._engine.running:
            self._retiring = self._wanted = False
            self._awakening = asyncio.create_task(self._awake())

    def ending(self, token: str) -> None:
        """This container has refused a request, as it is about to end."""
        self._ending, self._token = token, None
        self._owes()

    def _ends(self) -> bool:
        started = self._record.load() if self._engine.running else None
        return started is not None and started.token == self._ending

    def _is_outdated(self) -> bool:
        """Whether what runs was started with other settings than are deployed now. Another image is the platform's
        business, which rolls it out."""
        started = self._record.load() if self._engine.running else None
        return started is not None and started.fingerprint != fingerprint(self._at_start(), started.token)

    def _recent_failure(self) -> NotServing | None:
        if self._failure is not None and time.monotonic() - self._failed_at < PAUSE_AFTER_FAILURE:
            return self._failure
        return None

    async def _awake(self) -> str | NotServing:
        """The shared work. Returns its failure, as nobody may be left to catch an exception."""
        began = time.monotonic()
        try:
            token = await self._find_running()
            if token is None and not self._wanted:
                return NotServing("it did not answer and has been ended", retry_after=1)
            token = token or await self._start()
        except Exception as error:  # noqa: BLE001 - it is told to all who wait
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
        """The token of the container that already runs, as after a restart of the object; None: start one."""
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
        """Lets it end what it runs, SHUTDOWN_GRACE seconds at most, and the ledger be told of it."""
        began = time.monotonic()
        if self._ends():  # a second SIGTERM would end what it runs at once
            self._log("info", "container_retiring", reason="it has been told to end")
        else:
            self._log("info", "container_retiring", reason="its settings are not the deployed ones")
            self._owes()
            self._engine.terminate()
        end = began + self._limits.shutdown_grace + RETIRE_SLACK
        # `monitor()` would tell, too, but keeps the object in memory.
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
        # Saved first: should the object restart in the middle, the token of what it finds running is known.
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
        """Forgotten when the object restarts, so it is said again each time a container is found or started."""
        try:
            await self._engine.set_inactivity_timeout(self._limits.sleep_after)
        except Exception as error:  # noqa: BLE001 - it serves all the same, only its sleep is the platform's default
            self._log("warning", "container_no_inactivity_timeout", reason=str(error))

    async def _destroy(self) -> None:
        try:
            await asyncio.wait_for(self._engine.destroy(), DESTROY_TIMEOUT)
        except TimeoutError:
            raise NotServing(f"the old container did not end within {DESTROY_TIMEOUT:g} seconds") from None
