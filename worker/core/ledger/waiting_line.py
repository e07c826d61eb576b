"""Requests that only running requests keep out: those reserve the rest of a budget, or take every parallel slot.

They wait in a line for each key: first come, first served, even if a later request needs less. Only the first of a line
tries again, and only after a request of the account that kept it out has ended. Whom an account keeps out that others
of the line do not draw on, such as its end user's, does not hold up those others. The number of waiting requests is
bounded, because their bodies are held, and so is the share of one key.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator

from . import decision
from .decision import Result

# Of all keys together. One key may have half of each.
MOST_WAITING = 256
MOST_BYTES = 64 * 1024 * 1024
DEFAULT_PATIENCE = 10.0

Attempt = Callable[[], Awaitable[Result]]
# The kinds of accounts that all requests of a key draw on.
_SHARED = frozenset(("global", "key", "user", "team"))


class _Waiter:
    """`named`: see `WaitingLine.has`. `kept_out_by`: the account that has to change first, None if any may. `again`: it
    may have changed."""

    __slots__ = ("again", "kept_out_by", "named", "number", "size", "turn")

    def __init__(self, number: int, size: int, named: Collection[str]) -> None:
        self.number = number
        self.size = size
        self.named = named
        self.again = False
        self.kept_out_by: str | None = None
        self.turn: asyncio.Future[None] | None = None

    def holds_up(self, named: Collection[str]) -> bool:
        """Whether a later request that names these accounts has to wait, too."""
        account = self.kept_out_by
        return account is None or account.partition(":")[0] in _SHARED or account in named

    def wake(self) -> None:
        self.again = True
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)


class WaitingLine:
    """`patience`: seconds that a request waits at most, 0 to refuse it at once. `poll`: seconds after which the first
    of each line tries again without having been woken, for changes by other processes; None if there are none."""

    def __init__(
        self,
        patience: float = DEFAULT_PATIENCE,
        *,
        poll: float | None = None,
        most: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.patience = patience
        self.ended = 0
        self._poll = poll
        self._most = most
        self._most_bytes = most_bytes
        self._lines: dict[str, deque[_Waiter]] = {}
        self._waiting = 0
        self._bytes = 0
        self._numbers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """The number of waiting requests."""
        return self._waiting

    def has(self, key: str, named: Collection[str] = ()) -> bool:
        """Whether requests of this key wait that hold up another one. `named`: the accounts that only this request
        names, besides those that all requests of its key draw on."""
        return any(waiter.holds_up(named) for waiter in self._lines.get(key, ()))

    def turns_away(self, key: str, size: int) -> bool:
        """Whether `wait` returns at once, because nobody may wait or the line is full."""
        return self._closed or self.patience <= 0 or not self._has_room(key, size)

    async def wait(
        self,
        key: str,
        size: int,
        attempt: Attempt,
        refusal: Result | None,
        ended: int,
        named: Collection[str] = (),
    ) -> Result:
        """Returns the result of the first attempt that is not refused because of running requests, or a refusal.

        `size`: bytes of its body. `attempt`: tries to admit the request. `refusal`: the result of an attempt, None if
        others of this key were waiting. `ended`: the value of `ended` before that attempt. `named`: as in `has`.
        """
        if self._closed:
            return refusal or _shutting_down()
        if self.turns_away(key, size):
            return refusal or _crowded()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        self._numbers += 1
        waiter = _Waiter(self._numbers, size, named)
        if refusal is not None:
            waiter.kept_out_by, waiter.again = refusal["soon"], self.ended != ended
        line = self._join(key, waiter)
        try:
            while True:
                if (waiter.again or refusal is None) and any(one is waiter for one in _first(line)):
                    waiter.again, waiter.kept_out_by = False, None
                    refusal = await attempt()
                    if "soon" not in refusal:
                        return refusal
                    waiter.kept_out_by = refusal["soon"]
                    _wake_behind(waiter.number, line)
                    continue  # it may have been woken in the meantime
                left = deadline - loop.time()
                if self._closed:
                    return _shutting_down()
                if left <= 0:
                    return refusal or _crowded()
                await self._turn(waiter, left)
        finally:
            self._leave(key, line, waiter)

    def wake(self, accounts: Collection[str] | None = None) -> None:
        """Has those try again that one of these accounts keeps out, None for all. Call it when a reservation has ended
        or a limit has changed."""
        self.ended += 1
        if not self._lines:
            return
        first = sorted((one for line in self._lines.values() for one in _first(line)), key=lambda one: one.number)
        for waiter in first:
            if accounts is None or waiter.kept_out_by is None or waiter.kept_out_by in accounts:
                waiter.wake()

    def close(self) -> None:
        """Refuses everyone who waits, and all who come later: the process is shutting down."""
        self._closed = True
        for line in self._lines.values():
            for waiter in line:
                waiter.wake()

    async def _turn(self, waiter: _Waiter, seconds: float) -> None:
        """Returns when the waiter is woken, or after some seconds."""
        waiter.turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await waiter.turn
        except TimeoutError:
            pass  # the caller looks at the clock
        finally:
            waiter.turn = None

    def _has_room(self, key: str, size: int) -> bool:
        if self._waiting >= self._most or self._bytes + size > self._most_bytes:
            return False
        line = self._lines.get(key, ())
        return len(line) < self._most // 2 and sum(one.size for one in line) + size <= self._most_bytes // 2

    def _join(self, key: str, waiter: _Waiter) -> deque[_Waiter]:
        line = self._lines.setdefault(key, deque())
        line.append(waiter)
        self._waiting += 1
        self._bytes += waiter.size
        if self._poll is not None and self._timer is None:
            self._look_later()
        return line

    def _leave(self, key: str, line: deque[_Waiter], waiter: _Waiter) -> None:
        line.remove(waiter)
        self._waiting -= 1
        self._bytes -= waiter.size
        if not line:
            del self._lines[key]
        _wake_behind(waiter.number, line)

    def _look_later(self) -> None:
        assert self._poll is not None, "only called if other processes may change something"
        pause = self._poll * random.uniform(0.75, 1.25)
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._lines:
            self.wake()
            self._look_later()


def _first(line: deque[_Waiter]) -> Iterator[_Waiter]:
    """Yields those whom nobody before them holds up."""
    before: set[str] = set()
    for waiter in line:
        if before.isdisjoint(waiter.named):
            yield waiter
        account = waiter.kept_out_by
        if account is None or waiter.holds_up(()):
            return
        before.add(account)


def _wake_behind(number: int, line: deque[_Waiter]) -> None:
    """Wakes those behind this place whom nobody holds up any more."""
    for waiter in [*_first(line)]:
        if waiter.number > number:
            waiter.wake()


def _crowded() -> Result:
    return decision.budget_held("Earlier requests of this key still wait for running ones to end.")


def _shutting_down() -> Result:
    return decision.unavailable("The gateway is shutting down.")
