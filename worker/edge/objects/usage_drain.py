"""Usage on its way from the container's journal to the ledger: fetched while requests run, acknowledged, never twice.

    drain.touch()            # a request that was reserved for goes to the container now
    await drain.alarm()      # the object's alarm: goes on where an object that left memory has stopped

One loop, and only while there may be something to fetch: ask the journal (it holds the question until there is
something), tell the ledger, acknowledge with the next question. Two seconds after the last request it is over: no task,
no alarm, no request. While it runs an alarm is set, so that it goes on when this object is lost in the middle; and the
alarm waits for the loop, which keeps the object in memory for as long as a stream runs.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

# Seconds. A question is held so long: shortly where nothing runs, as then nothing may come any more.
QUIET, LONG = 2.0, 20.0
ALARM_AFTER = 5.0
# An alarm may take fifteen minutes.
ALARM_LASTS = 600.0
FIRST_WAIT, LONGEST_WAIT, WAIT_FACTOR = 0.05, 5.0, 2.0
# A container that runs and does not answer for so long is left alone: by then its reservations have expired.
PATIENCE = 150.0
_AT_ONCE = 50

Log = Callable[..., None]


class Failed(Exception):
    """The container could not be asked. The message says why."""


class LedgerFailed(Failed):
    """The ledger could not; it stays in the journal until it can."""


class Page(Protocol):
    """Of a journal, see `protocol.JournalPage`."""

    @property
    def entries(self) -> Sequence[Sequence[Any]]: ...

    @property
    def renew(self) -> Sequence[str]: ...

    @property
    def open(self) -> int: ...

    @property
    def waiting(self) -> int: ...


class _EndedMeanwhile:
    """An empty page; another round has to look what runs now."""

    entries: Sequence[Sequence[Any]] = ()
    renew: Sequence[str] = ()
    open = 1
    waiting = 0


class Container(Protocol):
    """What runs now, if anything does. Nothing here wakes it."""

    @property
    def instance(self) -> str | None:
        """The start id of the container that runs; None while none does."""

    @property
    def ended(self) -> str | None:
        """That of the one that ran before, while none runs or is about to."""

    async def page(self, ack: int, wait: float, doubtful: list[str]) -> Page:
        """Raises Failed."""
        ...


class Ledger(Protocol):
    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        """It logs what it does not know. Raises LedgerFailed."""

    async def ended(self, instance: str) -> None:
        """Raises LedgerFailed."""


class Alarm(Protocol):
    def set(self, seconds: float) -> None: ...

    def delete(self) -> None: ...


class Entries:
    """Which of a journal's entries the ledger has: all up to `upto`, and some after it."""

    def __init__(self) -> None:
        self.upto = 0
        self._after: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number <= self.upto or number in self._after

    def add(self, number: int, oldest: int) -> None:
        """`oldest`: the journal begins there. It had everything before acknowledged, perhaps by an object that has left
        memory since."""
        if oldest > self.upto + 1:
            self.upto = oldest - 1
            self._after = {one for one in self._after if one > self.upto}
        if number > self.upto:
            self._after.add(number)
        while self.upto + 1 in self._after:
            self.upto += 1
            self._after.discard(self.upto)


class Drain:
    """One container's. `clock` in seconds."""

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
        self._touched = 0  # counts
        self._instance: str | None = None  # whose journal `_has` and the rest are about
        self._has = Entries()
        self._renew: dict[str, None] = {}
        self._doubtful: dict[str, str] = {}  # id -> instance
        self._gone: dict[str, None] = {}
        self._told: str | None = None  # the last one of which the ledger knows that it is gone

    @property
    def running(self) -> bool:
        return self._task is not None

    def touch(self) -> None:
        """Called when a reserved request goes in, and when its answer begins."""
        self._touched += 1
        if self._task is None:
            self._start()
            self._set_alarm()

    def ring(self) -> None:
        """For an object whose alarm has other duties, too, and waits for none of them: goes on, and sets it again."""
        self._alarm_set = False
        if self._task is None:
            self._start()
        self._set_alarm()

    def written(self, instance: str) -> int:
        """The number up to which the ledger has the journal of this container."""
        return self._has.upto if instance == self._instance else 0

    def write(self, instance: str, number: int, oldest: int) -> None:
        """The ledger has an entry that came with an answer, see `Entries.add`."""
        if instance == self._instance:
            self._has.add(number, oldest)

    def doubt(self, id: str, instance: str) -> None:
        """The request of this reservation was sent to this container, and may never have arrived."""
        self._doubtful[id] = instance
        self.touch()

    def gone(self, instance: str) -> None:
        """This container has ended: what it had open will not be reported any more."""
        self._gone[instance] = None
        self.touch()

    async def alarm(self) -> None:
        """Returns when there is nothing left to fetch, or in time for the next alarm. No timer tells it so: one that is
        left would keep the object in memory."""
        self._alarm_set = False
        over = self._alarm_over = asyncio.Event()
        self._alarm_until = self._clock() + ALARM_LASTS
        if self._task is None:
            self._start()
        await over.wait()
        if self._task is not None:
            self._set_alarm()

    def _start(self) -> None:
        # Kept: the event loop alone would not keep a task alive.
        self._task = asyncio.ensure_future(self._run())

    def _set_alarm(self) -> None:
        if not self._alarm_set:
            self._alarm_set = True
            self._alarm.set(ALARM_AFTER)

    async def _run(self) -> None:
        try:
            await self._until_quiet()
        except Exception as error:  # noqa: BLE001 - nobody waits for the task; the next request starts another
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
        """The container to ask. One that has been replaced, or has ended, takes along what was known of it."""
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
            if theirs != instance:  # it may have been reserved after the ledger was told
                self._gone[theirs] = None
                del self._doubtful[id]
        return instance

    async def _fetch(self, instance: str, wait: float) -> Page | None:
        """One page, told to the ledger. None when its container has ended. Raises Failed."""
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
