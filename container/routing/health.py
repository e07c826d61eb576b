"""The outcome of an attempt, and what outcomes say about the health of a deployment: failures, cooldown, requests in
flight, latency and usage in the current minute.

A process alone keeps the state of a deployment in attributes (`LocalHealth`), several workers in memory that they share
(`SharedHealth` in shared_health.py). Times are seconds on the router's clock; of several workers it is the monotonic
clock, which all processes of a machine share.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal[
    "ok",
    "caller",  # the request is invalid; every deployment would refuse it
    "unsupported",  # the request has a field that this deployment does not support
    "context_window",  # too long for this model
    "content_policy",  # refused by the provider's filter
    "rate_limit",
    "authentication",  # our key or configuration is wrong; another deployment may work
    "not_found",
    "timeout",
    "connection",
    "server",  # 5xx, or an invalid response
]

# Only these are worth retrying on the same deployment.
TRANSIENT: frozenset[Kind] = frozenset({"rate_limit", "connection", "server"})
# Failures that count against a deployment's health.
UNHEALTHY: frozenset[Kind] = frozenset({"rate_limit", "authentication", "not_found", "timeout", "connection", "server"})
# Of those, failures that start a cooldown only after several; one of any other kind does.
COUNTED: frozenset[Kind] = frozenset({"timeout", "connection", "server"})


class Outcome(NamedTuple):
    """The result of an attempt.

    status           the provider's status, 0 without one
    message          safe to show to the client
    retry_after      seconds, as requested by the provider
    code, param      the provider's own, for invalid requests
    headers          the provider's headers that may reach the client
    final            no other deployment can take over: the client has part of the response, or has run out of time
    client_timeout   the client's own timeout has passed, which says nothing about the deployment
    unread           the provider reported success but its response could not be read, so it may charge for it
    blameless        the failure may be due to this request, so it does not count against the deployment
    latency          seconds: to the first token of a stream, else per output token
    tokens           total tokens used
    """

    kind: Kind
    status: int = 0
    message: str = ""
    retry_after: float | None = None
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    final: bool = False
    client_timeout: bool = False
    unread: bool = False
    blameless: bool = False
    latency: float | None = None
    tokens: int = 0

    @property
    def ok(self) -> bool:
        return self.kind == "ok"


OK = Outcome("ok", 200)


WINDOW_SECONDS = 60.0
MAX_COOLDOWN_SECONDS = 300.0
LATENCY_SAMPLES = 10


class Most(NamedTuple):
    """What a deployment takes: requests at a time, and requests and tokens in a minute. None: no limit."""

    parallel: int | None = None
    requests: int | None = None
    tokens: int | None = None


UNLIMITED = Most()


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

    def began(self, now: float, tokens: int, most: Most = UNLIMITED) -> bool:
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


def counts_against(outcome: Outcome) -> bool:
    return outcome.kind in UNHEALTHY and not outcome.client_timeout and not outcome.blameless


def pause_after(outcome: Outcome, failures: int, strikes: int, tolerance: Tolerance) -> float | None:
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

    def began(self, now: float, tokens: int, most: Most = UNLIMITED) -> bool:
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
        if not counts_against(outcome):
            return
        self.failures.append(now)
        while self.failures[0] <= now - WINDOW_SECONDS:
            self.failures.popleft()
        strikes = self.strikes
        pause = pause_after(outcome, len(self.failures), strikes, tolerance)
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
