"""The health of deployments that several processes share: of the workers of one gateway in memory (`HealthBoard`), of
replicas through Redis (`SharedCooldowns`).
"""

import asyncio
import mmap
import time
from collections.abc import Iterable

from ..observability import log
from ..observability.process_lock import ProcessLock
from .health import (
    LATENCY_SAMPLES,
    UNLIMITED,
    WINDOW_SECONDS,
    Most,
    Outcome,
    Tolerance,
    counts_against,
    pause_after,
)
from .router import Router

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

    def began(self, now: float, tokens: int, most: Most = UNLIMITED) -> bool:
        if now >= self._minute_ends:
            self.turn_minute(now)
        shared = self._shared
        if most == UNLIMITED and not shared[_TROUBLED]:
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
        if not counts_against(outcome):
            return
        shared = self._shared
        with self._lock:
            count = int(shared[_FAILURES])
            shared[_TROUBLED] = 1.0
            shared[_FAILED + count % MOST_FAILURES] = now
            shared[_FAILURES] = count + 1
            strikes = int(shared[_STRIKES])
            pause = pause_after(outcome, self.recent_failures(now), strikes, tolerance)
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


# Of the key per deployment, which holds the end of the cooldown in milliseconds since 1970 and expires at that time.
PREFIX = "litellm-router:cooldown:"
POLL_SECONDS = 1.0
RETRY_SECONDS = 5.0


class SharedCooldowns:
    """Publishes this replica's cooldowns and applies those of others, about once a second.

    Without Redis each replica learns on its own.
    """

    def __init__(self, router: Router, url: str) -> None:
        self._router = router
        self._url = url
        self._news: dict[str, float] = {}  # id -> end of the cooldown, seconds since the epoch
        self._seen: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task | None = None
        self.follow(router)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    def follow(self, router: Router) -> None:
        """Switch to another router."""
        self._router = router
        router.on_cooldown = self._tell

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _tell(self, deployment: str, seconds: float) -> None:
        self._news[deployment] = time.time() + seconds
        self._wake.set()

    async def _keep(self) -> None:
        from redis import asyncio as redis  # imported only if Redis is used
        from redis.exceptions import RedisError

        reachable = True
        while True:
            client = redis.Redis.from_url(self._url, socket_timeout=2, socket_connect_timeout=2)
            try:
                while True:
                    await self._exchange(client)
                    if not reachable:
                        log.info("redis_back")
                    reachable = True
                    await self._pause()
            except (RedisError, OSError, TimeoutError) as error:
                if reachable:
                    log.warning("redis_lost", error=type(error).__name__, effect="cooldowns are not shared")
                reachable = False
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                await client.aclose()

    async def _pause(self) -> None:
        self._wake.clear()
        if self._news:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    async def _exchange(self, client) -> None:
        news, self._news, now = self._news, {}, time.time()
        pipeline = client.pipeline(transaction=False)
        for deployment, end in news.items():
            if end > now:
                value = str(int(end * 1000)).encode()
                self._seen[deployment] = value
                pipeline.set(PREFIX + deployment, value, pxat=int(end * 1000))
        names = list(self._router.health)
        pipeline.mget([PREFIX + name for name in names])
        try:
            values = (await pipeline.execute())[-1]
        except BaseException:
            self._news = {**news, **self._news}  # send it next time
            raise
        for name, value in zip(names, values, strict=True):
            if value is None or self._seen.get(name) == value:
                continue
            self._seen[name] = value
            self._router.cool(name, int(value) / 1000 - now)
