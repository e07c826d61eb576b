"""The state of deployments in memory that several workers share.

Each worker has a row per deployment that only it writes, so a request costs no lock. The sum of the rows counts. What
has to be decided by one worker at a time is decided under a lock: the last place of a deployment with a limit, and
everything around failures and cooldowns, which are rare.

All numbers are doubles, which a processor reads and writes whole. Times are of the monotonic clock, which all processes
of a machine share.
"""

import mmap
from collections.abc import Iterable

from ..observability.process_lock import ProcessLock
from .health import LATENCY_SAMPLES, WINDOW_SECONDS, Health, Most
from .outcome import Outcome

# The failures that are remembered. Where a config allows more in a minute, their number starts no cooldown.
MOST_FAILURES = 1024
_COOLING_UNTIL, _STRIKES, _STRUCK_AT, _PROBED_BY, _FAILURES, _FAILED = range(6)
_SHARED = _FAILED + MOST_FAILURES
_IN_FLIGHT, _MINUTE, _REQUESTS, _TOKENS, _COOLDOWNS, _LATENCIES = range(6)
# A count, then times and seconds in turn.
_SAMPLES = 1 + 2 * LATENCY_SAMPLES
_FIRST_TOKENS = _LATENCIES + _SAMPLES
_ROW = _FIRST_TOKENS + _SAMPLES
_UNLIMITED = Most()


class HealthBoard:
    """`workers` have rows for `slots` deployments. Make it before the workers are forked. Untouched memory is free."""

    def __init__(self, workers: int, slots: int) -> None:
        self.workers = workers
        self.slots = slots
        self._size = _SHARED + workers * _ROW
        self._memory = mmap.mmap(-1, slots * self._size * 8)
        self.numbers = memoryview(self._memory).cast("d")
        self.lock = ProcessLock()

    def shared(self, slot: int) -> int:
        """Return where the part of a deployment begins that belongs to no worker."""
        return slot * self._size

    def row(self, slot: int, worker: int) -> int:
        return slot * self._size + _SHARED + worker * _ROW

    def clear(self, slot: int) -> None:
        """Prepare a slot for another deployment."""
        begin = self.shared(slot)
        self.numbers[begin : begin + self._size] = memoryview(bytes(self._size * 8)).cast("d")

    def left(self, worker: int, slots: Iterable[int]) -> None:
        """End the requests of a worker that has died. What it sent in this minute counts on: the provider counts it."""
        with self.lock:
            for slot in slots:
                self.numbers[self.row(slot, worker) + _IN_FLIGHT] = 0.0
                probed_by = self.shared(slot) + _PROBED_BY
                if self.numbers[probed_by] == worker + 1:
                    self.numbers[probed_by] = 0.0


class SharedHealth(Health):
    """One worker's view of a deployment: the same as `Health`, over all workers.

    What `Health` keeps in attributes is read from the board here. A type checker does not accept properties in place of
    attributes, hence its exceptions: nothing outside these two classes writes them but `struck_at`, which has a setter.
    """

    __slots__ = ("_at", "_board", "_id", "_minute", "_numbers", "_row", "_rows")

    def __init__(self, board: HealthBoard, slot: int, worker: int) -> None:
        self._board = board
        self._numbers = board.numbers
        self._id = worker + 1
        self._at = board.shared(slot)
        self._row = board.row(slot, worker)
        self._rows = [board.row(slot, one) for one in range(board.workers)]
        self._minute = 0

    @property
    def in_flight(self) -> int:  # type: ignore[override]
        return self._sum(_IN_FLIGHT)

    @property
    def cooldowns(self) -> int:  # type: ignore[override]
        return self._sum(_COOLDOWNS)

    @property
    def requests(self) -> int:  # type: ignore[override]
        return self._this_minute(_REQUESTS)

    @property
    def tokens(self) -> int:  # type: ignore[override]
        return self._this_minute(_TOKENS)

    @property
    def cooling_until(self) -> float:  # type: ignore[override]
        return self._numbers[self._at + _COOLING_UNTIL]

    @property
    def strikes(self) -> int:  # type: ignore[override]
        return int(self._numbers[self._at + _STRIKES])

    @property
    def struck_at(self) -> float:  # type: ignore[override]
        return self._numbers[self._at + _STRUCK_AT]

    @struck_at.setter
    def struck_at(self, when: float) -> None:
        self._numbers[self._at + _STRUCK_AT] = when

    @property
    def probing(self) -> bool:  # type: ignore[override]
        return self._numbers[self._at + _PROBED_BY] != 0.0

    def began(self, now: float, tokens: int, most: Most = _UNLIMITED) -> bool:
        self.turn_minute(now)
        if most == _UNLIMITED and not self.strikes:
            self._count(tokens)
            return True
        was_resting = self.resting(now)  # then it is the last resort, and its state does not matter
        with self._board.lock:
            if not was_resting and self.resting(now):
                return False
            if most.parallel is not None and self.in_flight >= most.parallel:
                return False
            if most.requests is not None and self.requests + 1 > most.requests:
                return False
            if most.tokens is not None and self.tokens + tokens > most.tokens:
                return False
            self._count(tokens)
            if self.strikes:
                self._numbers[self._at + _PROBED_BY] = self._id
        return True

    def ended(self) -> None:
        self._numbers[self._row + _IN_FLIGHT] -= 1
        if self.probing:
            with self._board.lock:
                self._numbers[self._at + _PROBED_BY] = 0.0

    def used(self, now: float, tokens: int) -> None:
        self.turn_minute(now)
        at = self._row + _TOKENS
        self._numbers[at] = max(0.0, self._numbers[at] + tokens)

    def took(self, now: float, latency: float, *, stream: bool) -> None:
        at = self._row + (_FIRST_TOKENS if stream else _LATENCIES)
        count = int(self._numbers[at])
        sample = at + 1 + 2 * (count % LATENCY_SAMPLES)
        self._numbers[sample] = now
        self._numbers[sample + 1] = latency
        self._numbers[at] = count + 1

    def latency(self, now: float, ttl: float, *, stream: bool) -> float | None:
        found = []
        for row in self._rows:
            at = row + (_FIRST_TOKENS if stream else _LATENCIES)
            for sample in range(at + 1, at + 1 + 2 * min(int(self._numbers[at]), LATENCY_SAMPLES), 2):
                if self._numbers[sample] > now - ttl:
                    found.append(self._numbers[sample + 1])
        return sum(found) / len(found) if found else None

    def succeeded(self) -> None:
        numbers, at = self._numbers, self._at
        if numbers[at + _FAILURES] or numbers[at + _STRIKES] or numbers[at + _COOLING_UNTIL]:
            with self._board.lock:
                numbers[at + _FAILURES] = numbers[at + _STRIKES] = numbers[at + _COOLING_UNTIL] = 0.0

    def failed(
        self,
        outcome: Outcome,
        now: float,
        *,
        allowed_fails: int,
        cooldown_time: float,
        allowed_of_kind: int | None = None,
    ) -> None:
        with self._board.lock:
            super().failed(
                outcome,
                now,
                allowed_fails=allowed_fails,
                cooldown_time=cooldown_time,
                allowed_of_kind=allowed_of_kind,
            )

    def count_failure(self, now: float) -> int:
        at = self._at + _FAILURES
        count = int(self._numbers[at])
        self._numbers[self._at + _FAILED + count % MOST_FAILURES] = now
        self._numbers[at] = count + 1
        return self.recent_failures(now)

    def recent_failures(self, now: float) -> int:
        first = self._at + _FAILED
        known = min(int(self._numbers[self._at + _FAILURES]), MOST_FAILURES)
        return sum(self._numbers[at] > now - WINDOW_SECONDS for at in range(first, first + known))

    def struck(self, now: float) -> None:
        self.struck_at = self.struck_at if self.strikes else now
        self._numbers[self._at + _STRIKES] += 1
        self._numbers[self._row + _COOLDOWNS] += 1

    def cool_until(self, when: float) -> None:
        numbers, at = self._numbers, self._at
        with self._board.lock:
            numbers[at + _COOLING_UNTIL] = max(numbers[at + _COOLING_UNTIL], when)
            numbers[at + _STRIKES] = max(numbers[at + _STRIKES], 1.0)

    def turn_minute(self, now: float) -> None:
        minute = self._minute = int(now // 60)
        if self._numbers[self._row + _MINUTE] != minute:
            self._numbers[self._row + _REQUESTS] = self._numbers[self._row + _TOKENS] = 0.0
            self._numbers[self._row + _MINUTE] = minute

    def _count(self, tokens: int) -> None:
        numbers, row = self._numbers, self._row
        numbers[row + _IN_FLIGHT] += 1
        numbers[row + _REQUESTS] += 1
        numbers[row + _TOKENS] += tokens

    def _sum(self, field: int) -> int:
        return int(sum(self._numbers[row + field] for row in self._rows))

    def _this_minute(self, field: int) -> int:
        numbers = self._numbers
        return int(sum(numbers[row + field] for row in self._rows if numbers[row + _MINUTE] == self._minute))
