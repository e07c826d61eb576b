"""The state of each deployment: failures, cooldown, requests in flight, latency and usage in the current minute.

A process alone keeps it in attributes (`LocalHealth`), several workers in memory that they share (`SharedHealth`).
Times are seconds on the router's clock; of several workers it is the monotonic clock, which all processes of a machine
share.
"""

import mmap
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..observability.process_lock import ProcessLock
from .outcome import COUNTED, UNHEALTHY, Outcome

WINDOW_SECONDS = 60.0
MAX_COOLDOWN_SECONDS = 300.0
LATENCY_SAMPLES = 10


class Most(NamedTuple):
    """What a deployment takes: requests at a time, and requests and tokens in a minute. None: no limit."""

    parallel: int | None = None
    requests: int | None = None
    tokens: int | None = None


_UNLIMITED = Most()


class Tolerance(NamedTuple):
    """When failures start a cooldown, and its first length in seconds.

    `of_kind`: the config's limit for this kind of failure (`allowed_fails_policy`), which overrides all other rules. It
    is compared with the last minute's failures of every kind.
    """

    fails: int
    cooldown: float
    of_kind: int | None = None


class Health(Protocol):
    """The state of one deployment.

    After a cooldown a deployment is probed with one request. Others follow if it succeeds.
    """

    @property
    def in_flight(self) -> int: ...

    @property
    def cooling_until(self) -> float: ...

    @property
    def cooldowns(self) -> int:
        """All cooldowns caused by the deployment's own failures."""
        ...

    @property
    def requests(self) -> int:
        """Of the current minute, as are `tokens`."""
        ...

    @property
    def tokens(self) -> int: ...

    def turn_minute(self, now: float) -> None:
        """Call this before reading `requests` and `tokens`."""
        ...

    def resting(self, now: float) -> bool:
        """Whether it is cooling down or being probed by another request."""
        ...

    def began(self, now: float, tokens: int, most: Most = _UNLIMITED) -> bool:
        """Record the start of a request of about `tokens` tokens. Return False if another process has just taken the
        last place."""
        ...

    def ended(self) -> None: ...

    def used(self, now: float, tokens: int) -> None:
        """Correct the tokens of this minute by a difference."""
        ...

    def took(self, now: float, latency: float, *, stream: bool) -> None:
        """Record the latency: of a stream, seconds to its first token; of a complete response, seconds per output
        token."""
        ...

    def succeeded(self) -> None: ...

    def failed(self, outcome: Outcome, now: float, tolerance: Tolerance) -> None:
        """Count a failure, and start a cooldown if it is due."""
        ...

    def cool_until(self, when: float, now: float) -> None:
        """Start a cooldown or make it longer, without counting it."""
        ...

    def recent_failures(self, now: float) -> int:
        """Return the failures of the last minute."""
        ...

    def ailing(self, now: float) -> int:
        """Return the seconds since the first of its cooldowns without a success between them."""
        ...

    def latency(self, now: float, ttl: float, *, stream: bool) -> float | None:
        """Return the mean for streams or complete responses of the last `ttl` seconds, or None without any."""
        ...


def shown(health: Health, now: float, ttl: float) -> dict[str, Any]:
    """Return the state for the operator. Times are in seconds; None means unknown."""
    health.turn_minute(now)
    cooling = max(0.0, health.cooling_until - now)
    return {
        "state": "cooling" if cooling else "probing" if health.resting(now) else "healthy",
        "cooldown_seconds": round(cooling, 1),
        "failures_last_minute": health.recent_failures(now),
        "in_flight": health.in_flight,
        "requests_this_minute": health.requests,
        "tokens_this_minute": health.tokens,
        "seconds_per_token": health.latency(now, ttl, stream=False),
        "seconds_to_first_token": health.latency(now, ttl, stream=True),
    }


def _is_counted(outcome: Outcome) -> bool:
    return outcome.kind in UNHEALTHY and not outcome.client_timeout and not outcome.blameless


def _pause(outcome: Outcome, failures: int, strikes: int, tolerance: Tolerance) -> float | None:
    """Return the seconds of the cooldown that a failure starts, None if it starts none.

    A deployment cools down at once if the provider asks for it, if a retry is pointless, or if a probe fails.
    `failures`: of the last minute, this one included. `strikes`: cooldowns since the last success; each doubles the
    next one.
    """
    doubled = tolerance.cooldown * 2 ** min(strikes, 10)
    if tolerance.of_kind is not None:
        pause = None if failures <= tolerance.of_kind else doubled
    elif outcome.kind == "rate_limit" and outcome.retry_after is not None:
        pause = outcome.retry_after
    elif outcome.kind not in COUNTED or failures > tolerance.fails or strikes > 0:
        pause = doubled
    else:
        pause = None
    return None if pause is None else min(pause, MAX_COOLDOWN_SECONDS)


@dataclass(slots=True)
class LocalHealth:
    """The state in one process.

    strikes        cooldowns since the last success
    struck_at      when the first of them began
    latencies      (time, seconds per output token) of recent complete responses
    first_tokens   (time, seconds to the first token) of recent streams
    minute         the current minute, in which `requests` and `tokens` are counted
    """

    in_flight: int = 0
    cooling_until: float = 0.0
    strikes: int = 0
    struck_at: float = 0.0
    probing: bool = False
    cooldowns: int = 0
    failures: deque[float] = field(default_factory=deque)
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LATENCY_SAMPLES))
    first_tokens: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LATENCY_SAMPLES))
    minute: int = 0
    requests: int = 0
    tokens: int = 0

    def resting(self, now: float) -> bool:
        return now < self.cooling_until or (self.strikes > 0 and self.probing)

    def began(self, now: float, tokens: int, most: Most = _UNLIMITED) -> bool:
        self.turn_minute(now)
        self.in_flight += 1
        self.requests += 1
        self.tokens += tokens
        self.probing = self.strikes > 0
        return True

    def ended(self) -> None:
        self.in_flight -= 1
        self.probing = False

    def used(self, now: float, tokens: int) -> None:
        self.turn_minute(now)
        self.tokens = max(0, self.tokens + tokens)

    def took(self, now: float, latency: float, *, stream: bool) -> None:
        (self.first_tokens if stream else self.latencies).append((now, latency))

    def succeeded(self) -> None:
        self.failures.clear()
        self.cooling_until = 0.0
        self.strikes = 0

    def failed(self, outcome: Outcome, now: float, tolerance: Tolerance) -> None:
        if not _is_counted(outcome):
            return
        self.failures.append(now)
        while self.failures[0] <= now - WINDOW_SECONDS:
            self.failures.popleft()
        strikes = self.strikes
        pause = _pause(outcome, len(self.failures), strikes, tolerance)
        if pause is not None:
            self.cooldowns += 1
            self.cool_until(now + pause, now)
            self.strikes = strikes + 1

    def cool_until(self, when: float, now: float) -> None:
        self.cooling_until = max(self.cooling_until, when)
        if not self.strikes:
            self.strikes, self.struck_at = 1, now

    def recent_failures(self, now: float) -> int:
        return sum(when > now - WINDOW_SECONDS for when in self.failures)

    def ailing(self, now: float) -> int:
        return int(now - self.struck_at) if self.strikes else 0

    def latency(self, now: float, ttl: float, *, stream: bool) -> float | None:
        samples = self.first_tokens if stream else self.latencies
        while samples and samples[0][0] <= now - ttl:
            samples.popleft()
        return sum(seconds for _, seconds in samples) / len(samples) if samples else None

    def turn_minute(self, now: float) -> None:
        minute = int(now // 60)
        if minute != self.minute:
            self.minute = minute
            self.requests = self.tokens = 0


# The failures that are remembered. Where a config allows more in a minute, their number starts no cooldown.
MOST_FAILURES = 1024
# Numbers of a deployment that belong to no worker. `_TROUBLED`: 1 if any of them is not 0, so that a healthy deployment
# costs one look.
_TROUBLED, _COOLING_UNTIL, _STRIKES, _STRUCK_AT, _PROBED_BY, _FAILURES, _FAILED = range(7)
_SHARED = _FAILED + MOST_FAILURES
# Numbers of a deployment that only one worker writes.
_IN_FLIGHT, _MINUTE, _REQUESTS, _TOKENS, _COOLDOWNS, _LATENCIES = range(6)
# A count, then times and seconds in turn.
_SAMPLES = 1 + 2 * LATENCY_SAMPLES
_FIRST_TOKENS = _LATENCIES + _SAMPLES
_ROW = _FIRST_TOKENS + _SAMPLES


class HealthBoard:
    """The state of deployments in memory that several workers share.

    Each worker has a row per deployment that only it writes, so a request costs no lock. The sum of the rows counts.
    What has to be decided by one worker at a time is decided under a lock: the last place of a deployment with a limit,
    and everything around failures and cooldowns, which are rare. All numbers are doubles, which a processor reads and
    writes whole.

    `workers` have rows for `slots` deployments. Make it before the workers are forked. Untouched memory is free.
    """

    def __init__(self, workers: int, slots: int) -> None:
        self.workers = workers
        self.slots = slots
        self._size = _SHARED + workers * _ROW
        self._numbers = memoryview(mmap.mmap(-1, slots * self._size * 8)).cast("d")
        self.lock = ProcessLock()

    def shared(self, slot: int) -> "memoryview[float]":
        """Return the numbers of a deployment that belong to no worker."""
        at = slot * self._size
        return self._numbers[at : at + _SHARED]

    def row(self, slot: int, worker: int) -> "memoryview[float]":
        at = slot * self._size + _SHARED + worker * _ROW
        return self._numbers[at : at + _ROW]

    def clear(self, slot: int) -> None:
        """Prepare a slot for another deployment."""
        at = slot * self._size
        self._numbers[at : at + self._size] = memoryview(bytes(self._size * 8)).cast("d")

    def left(self, worker: int, slots: Iterable[int]) -> None:
        """End the requests of a worker that has died. What it sent in this minute counts on: the provider counts it."""
        with self.lock:
            for slot in slots:
                self.row(slot, worker)[_IN_FLIGHT] = 0.0
                shared = self.shared(slot)
                if shared[_PROBED_BY] == worker + 1:
                    shared[_PROBED_BY] = 0.0


class SharedHealth:
    """One worker's view of a deployment on the board, over all workers."""

    __slots__ = ("_id", "_lock", "_minute", "_minute_ends", "_own", "_rows", "_shared")

    def __init__(self, board: HealthBoard, slot: int, worker: int) -> None:
        self._lock = board.lock
        self._id = worker + 1
        self._shared = board.shared(slot)
        self._rows = [board.row(slot, one) for one in range(board.workers)]
        self._own = self._rows[worker]
        self._minute = 0
        self._minute_ends = 0.0

    @property
    def in_flight(self) -> int:
        return int(sum(row[_IN_FLIGHT] for row in self._rows))

    @property
    def cooldowns(self) -> int:
        return int(sum(row[_COOLDOWNS] for row in self._rows))

    @property
    def requests(self) -> int:
        return self._this_minute(_REQUESTS)

    @property
    def tokens(self) -> int:
        return self._this_minute(_TOKENS)

    @property
    def cooling_until(self) -> float:
        return self._shared[_COOLING_UNTIL]

    def resting(self, now: float) -> bool:
        shared = self._shared
        if not shared[_TROUBLED]:
            return False
        return now < shared[_COOLING_UNTIL] or (shared[_STRIKES] > 0 and shared[_PROBED_BY] != 0)

    def began(self, now: float, tokens: int, most: Most = _UNLIMITED) -> bool:
        if now >= self._minute_ends:
            self.turn_minute(now)
        shared = self._shared
        if most == _UNLIMITED and not shared[_TROUBLED]:
            self._count(tokens)
            return True
        was_resting = self.resting(now)  # then it is the last resort, and its state does not matter
        with self._lock:
            if not was_resting and self.resting(now):
                return False
            if most.parallel is not None and self.in_flight >= most.parallel:
                return False
            if most.requests is not None and self.requests + 1 > most.requests:
                return False
            if most.tokens is not None and self.tokens + tokens > most.tokens:
                return False
            self._count(tokens)
            if shared[_STRIKES]:
                shared[_PROBED_BY] = self._id
        return True

    def ended(self) -> None:
        self._own[_IN_FLIGHT] -= 1
        shared = self._shared
        if shared[_TROUBLED] and shared[_PROBED_BY]:
            with self._lock:
                shared[_PROBED_BY] = 0.0

    def used(self, now: float, tokens: int) -> None:
        if now >= self._minute_ends:
            self.turn_minute(now)
        own = self._own
        own[_TOKENS] = max(0.0, own[_TOKENS] + tokens)

    def took(self, now: float, latency: float, *, stream: bool) -> None:
        own, at = self._own, _FIRST_TOKENS if stream else _LATENCIES
        count = int(own[at])
        sample = at + 1 + 2 * (count % LATENCY_SAMPLES)
        own[sample] = now
        own[sample + 1] = latency
        own[at] = count + 1

    def succeeded(self) -> None:
        shared = self._shared
        if shared[_TROUBLED]:
            with self._lock:
                for field in (_FAILURES, _STRIKES, _COOLING_UNTIL, _PROBED_BY, _TROUBLED):
                    shared[field] = 0.0

    def failed(self, outcome: Outcome, now: float, tolerance: Tolerance) -> None:
        if not _is_counted(outcome):
            return
        shared = self._shared
        with self._lock:
            count = int(shared[_FAILURES])
            shared[_TROUBLED] = 1.0
            shared[_FAILED + count % MOST_FAILURES] = now
            shared[_FAILURES] = count + 1
            strikes = int(shared[_STRIKES])
            pause = _pause(outcome, self.recent_failures(now), strikes, tolerance)
            if pause is not None:
                self._own[_COOLDOWNS] += 1
                self.cool_until(now + pause, now)
                shared[_STRIKES] = strikes + 1

    def cool_until(self, when: float, now: float) -> None:
        shared = self._shared
        with self._lock:
            shared[_TROUBLED] = 1.0
            shared[_COOLING_UNTIL] = max(shared[_COOLING_UNTIL], when)
            if not shared[_STRIKES]:
                shared[_STRUCK_AT] = now
                shared[_STRIKES] = 1.0

    def recent_failures(self, now: float) -> int:
        known = min(int(self._shared[_FAILURES]), MOST_FAILURES)
        return sum(when > now - WINDOW_SECONDS for when in self._shared[_FAILED : _FAILED + known])

    def ailing(self, now: float) -> int:
        shared = self._shared
        return int(now - shared[_STRUCK_AT]) if shared[_TROUBLED] and shared[_STRIKES] else 0

    def latency(self, now: float, ttl: float, *, stream: bool) -> float | None:
        found = []
        for row in self._rows:
            at = _FIRST_TOKENS if stream else _LATENCIES
            for sample in range(at + 1, at + 1 + 2 * min(int(row[at]), LATENCY_SAMPLES), 2):
                if row[sample] > now - ttl:
                    found.append(row[sample + 1])
        return sum(found) / len(found) if found else None

    def turn_minute(self, now: float) -> None:
        if now < self._minute_ends:
            return
        minute = self._minute = int(now // 60)
        self._minute_ends = (minute + 1) * 60.0
        own = self._own
        if own[_MINUTE] != minute:
            own[_REQUESTS] = own[_TOKENS] = 0.0
            own[_MINUTE] = minute

    def _count(self, tokens: int) -> None:
        own = self._own
        own[_IN_FLIGHT] += 1
        own[_REQUESTS] += 1
        own[_TOKENS] += tokens

    def _this_minute(self, field: int) -> int:
        return int(sum(row[field] for row in self._rows if row[_MINUTE] == self._minute))
