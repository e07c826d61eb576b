"""Transfers usage reports from the container's journal to the ledger, each exactly once.

    drain.touch()            # a request with a reservation is being sent to the container
    await drain.alarm()      # the object's alarm: resumes after the object was evicted

A single loop runs only while there may be something to fetch. It polls the journal (which holds the poll until it has
entries), reports to the ledger, and acknowledges with the next poll. Two seconds after the last request it ends and
leaves no task, alarm or request behind. While it runs, an alarm is set, so that it resumes if this object is lost. The
alarm handler waits for the loop, which keeps the object in memory while a stream runs.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

# Seconds that a poll is held. It is short if no request runs, because nothing more may come.
QUIET, LONG = 2.0, 20.0
ALARM_AFTER = 5.0
# An alarm handler may run for fifteen minutes.
ALARM_LASTS = 600.0
FIRST_WAIT, LONGEST_WAIT, WAIT_FACTOR = 0.05, 5.0, 2.0
# A running container that has not responded for this long is given up: its reservations have expired by then.
PATIENCE = 150.0
_AT_ONCE = 50

Log = Callable[..., None]


class Failed(Exception):
    """The container did not respond. The message says why."""


class LedgerFailed(Failed):
    """The ledger did not respond. The reports stay in the journal until it does."""


class Page(Protocol):
    """A page of a journal; see `protocol.JournalPage`."""

    @property
    def entries(self) -> Sequence[Sequence[Any]]: ...

    @property
    def renew(self) -> Sequence[str]: ...

    @property
    def open(self) -> int: ...

    @property
    def waiting(self) -> int: ...


class _EndedMeanwhile:
    """An empty page. The next round checks what is running now."""

    entries: Sequence[Sequence[Any]] = ()
    renew: Sequence[str] = ()
    open = 1
    waiting = 0


class Container(Protocol):
    """The running container, if any. Nothing here wakes it."""

    @property
    def instance(self) -> str | None:
        """The start id of the running container; None if there is none."""

    @property
    def ended(self) -> str | None:
        """The start id of the last container, if none is running or being started."""

    async def page(self, ack: int, wait: float, doubtful: list[str]) -> Page:
        """Polls the journal. Raises Failed."""
        ...


class Ledger(Protocol):
    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        """Logs unknown reservations. Raises LedgerFailed."""

    async def ended(self, instance: str) -> None:
        """Raises LedgerFailed."""


class Alarm(Protocol):
    def set(self, seconds: float) -> None: ...

    def delete(self) -> None: ...


class Entries:
    """The set of a journal's entries that the ledger has: all up to `upto`, and some after it."""

    def __init__(self) -> None:
        self.upto = 0
        self._after: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number <= self.upto or number in self._after

    def add(self, number: int, oldest: int) -> None:
        """`oldest`: the first entry in the journal. Everything before it was acknowledged, perhaps by an object that
        was evicted since."""
        if oldest > self.upto + 1:
            self.upto = oldest - 1
            self._after = {one for one in self._after if one > self.upto}
        if number > self.upto:
            self._after.add(number)
        while self.upto + 1 in self._after:
            self.upto += 1
            self._after.discard(self.upto)


class Drain:
    """Drains one container. `clock` is in seconds."""

    def __init__(
        self,
        container: Container,
        ledger: Ledger,
        alarm: Alarm,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._container = container
        self._ledger = ledger
        self._alarm = alarm
        self._log = log
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._alarm_over = asyncio.Event()
        self._alarm_until = 0.0
        self._alarm_set = False
        self._touched = 0  # a counter
        self._instance: str | None = None  # the container that `_has` and the rest refer to
        self._has = Entries()
        self._renew: dict[str, None] = {}
        self._doubtful: dict[str, str] = {}  # id -> instance
        self._gone: dict[str, None] = {}
        self._told: str | None = None  # the last container that the ledger knows has ended

    @property
    def running(self) -> bool:
        return self._task is not None

    def touch(self) -> None:
        """Called when a request with a reservation is sent, and when its response begins."""
        self._touched += 1
        if self._task is None:
            self._start()
            self._set_alarm()

    def ring(self) -> None:
        """Resumes the loop and sets the alarm again, for an object that shares its alarm and must not wait."""
        self._alarm_set = False
        if self._task is None:
            self._start()
        self._set_alarm()

    def written(self, instance: str) -> int:
        """Returns the number up to which the ledger has this container's journal."""
        return self._has.upto if instance == self._instance else 0

    def write(self, instance: str, number: int, oldest: int) -> None:
        """Marks an entry carried by a response as written; see `Entries.add`."""
        if instance == self._instance:
            self._has.add(number, oldest)

    def doubt(self, id: str, instance: str) -> None:
        """The request of this reservation was sent to this container but may never have arrived."""
        self._doubtful[id] = instance
        self.touch()

    def gone(self, instance: str) -> None:
        """This container has ended and will not report its open requests."""
        self._gone[instance] = None
        self.touch()

    async def alarm(self) -> None:
        """Returns when there is nothing left to fetch, or in time for the next alarm. It uses no timer, because a
        pending timer would keep the object in memory."""
        self._alarm_set = False
        over = self._alarm_over = asyncio.Event()
        self._alarm_until = self._clock() + ALARM_LASTS
        if self._task is None:
            self._start()
        await over.wait()
        if self._task is not None:
            self._set_alarm()

    def _start(self) -> None:
        # The event loop alone would not keep the task alive.
        self._task = asyncio.ensure_future(self._run())

    def _set_alarm(self) -> None:
        if not self._alarm_set:
            self._alarm_set = True
            self._alarm.set(ALARM_AFTER)

    async def _run(self) -> None:
        try:
            await self._until_quiet()
        except Exception as error:  # noqa: BLE001 - nothing awaits the task; the next request starts another
            self._log("error", "drain_failed", reason=f"{type(error).__name__}: {error}")
        finally:
            self._task = None
            self._alarm_over.set()
            if self._alarm_set:
                self._alarm_set = False
                self._alarm.delete()

    async def _until_quiet(self) -> None:
        wait, failing_since, waits = QUIET, None, _waits()
        while True:
            if self._clock() > self._alarm_until:
                self._alarm_over.set()
            seen = self._touched
            try:
                instance = self._find()
                await self._tell_gone()
                page = None if instance is None else await self._fetch(instance, wait)
            except Failed as failure:
                now = self._clock()
                if failing_since is None:
                    failing_since = now
                    self._log("warning", "drain_failing", reason=str(failure))
                if now - failing_since > PATIENCE and not isinstance(failure, LedgerFailed) and seen == self._touched:
                    self._log("error", "drain_given_up", reason=str(failure), seconds=round(now - failing_since))
                    return
                await asyncio.sleep(next(waits))
                continue
            if failing_since is not None:
                self._log("info", "drain_recovered", seconds=round(self._clock() - failing_since, 3))
                failing_since, waits = None, _waits()
            idle = page is None or not (page.open or page.waiting or page.entries)
            if idle and seen == self._touched:
                return
            wait = LONG if page is not None and page.open else QUIET

    def _find(self) -> str | None:
        """Returns the container to poll. If it was replaced or has ended, the state kept for it is discarded."""
        instance = self._container.instance
        if instance is None:
            ended = self._container.ended
            if ended is not None and ended != self._told:
                self._gone[ended] = None
        if instance != self._instance:
            if self._instance is not None and instance is not None:
                self._gone[self._instance] = None
            self._renew.clear()
            self._instance, self._has = instance, Entries()
        for id, theirs in list(self._doubtful.items()):
            if theirs != instance:  # it may have been reserved after the ledger was told that the container ended
                self._gone[theirs] = None
                del self._doubtful[id]
        return instance

    async def _fetch(self, instance: str, wait: float) -> Page | None:
        """Fetches one page and reports it to the ledger. The page is empty if the container ended. Raises Failed."""
        doubtful = list(self._doubtful)[:_AT_ONCE]
        try:
            page = await self._container.page(self._has.upto, wait, doubtful)
        except Failed:
            if self._container.instance == instance:
                raise
            return _EndedMeanwhile()
        for id in doubtful:
            self._doubtful.pop(id, None)
        self._renew.update(dict.fromkeys(page.renew))
        news = [entry for entry in page.entries if entry[0] not in self._has]
        if news or self._renew:
            renew = list(self._renew)[:_AT_ONCE]
            await self._ledger.report(instance, [fields for _, fields in news], renew)
            for id in renew:
                self._renew.pop(id, None)
        for number, _ in page.entries:
            self._has.add(number, page.entries[0][0])
        return page

    async def _tell_gone(self) -> None:
        for instance in list(self._gone):
            await self._ledger.ended(instance)
            self._gone.pop(instance, None)
            self._told = instance


def _waits() -> Iterator[float]:
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * WAIT_FACTOR, LONGEST_WAIT)
