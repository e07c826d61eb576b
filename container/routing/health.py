"""The state of each deployment: failures, cooldown, requests in flight, latency and usage in the current minute."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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


@dataclass(slots=True)
class Health:
    """Times are seconds on the router's clock.

    After a cooldown a deployment is probed with one request. Others follow if it succeeds.

    strikes        cooldowns since the last success; each doubles the next cooldown
    struck_at      when the first of them began
    cooldowns      all cooldowns caused by the deployment's own failures
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
        """Whether it is cooling down or being probed by another request."""
        return now < self.cooling_until or (self.strikes > 0 and self.probing)

    def began(self, now: float, tokens: int, most: Most = _UNLIMITED) -> bool:
        """Record the start of a request of about `tokens` tokens. Return False if another process has just taken the
        last place, which cannot happen here; see `health_board`."""
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
        """Correct the tokens of this minute by a difference."""
        self.turn_minute(now)
        self.tokens = max(0, self.tokens + tokens)

    def took(self, now: float, latency: float, *, stream: bool) -> None:
        """Record the latency of a stream or of a complete response."""
        (self.first_tokens if stream else self.latencies).append((now, latency))

    def succeeded(self) -> None:
        self.failures.clear()
        self.cooling_until = 0.0
        self.strikes = 0

    def failed(
        self,
        outcome: Outcome,
        now: float,
        *,
        allowed_fails: int,
        cooldown_time: float,
        allowed_of_kind: int | None = None,
    ) -> None:
        """Count a failure, and start a cooldown if it is due.

        A deployment cools down at once if the provider asks for it, if a retry is pointless, or if a probe fails.
        `allowed_of_kind`: the config's limit for this kind (`allowed_fails_policy`), which overrides these rules. It is
        compared with the last minute's failures of every kind.
        """
        if outcome.kind not in UNHEALTHY or outcome.client_timeout or outcome.blameless:
            return
        failures = self.count_failure(now)
        if allowed_of_kind is not None:
            if failures <= allowed_of_kind:
                return
            pause = cooldown_time * 2 ** min(self.strikes, 10)
        elif outcome.kind == "rate_limit" and outcome.retry_after is not None:
            pause = outcome.retry_after
        elif outcome.kind not in COUNTED or failures > allowed_fails or self.strikes > 0:
            pause = cooldown_time * 2 ** min(self.strikes, 10)
        else:
            return
        self.struck(now)
        self.cool_until(now + min(pause, MAX_COOLDOWN_SECONDS))

    def count_failure(self, now: float) -> int:
        """Add a failure. Return those of the last minute."""
        self.failures.append(now)
        while self.failures[0] <= now - WINDOW_SECONDS:
            self.failures.popleft()
        return len(self.failures)

    def struck(self, now: float) -> None:
        """Count a cooldown."""
        self.struck_at = self.struck_at if self.strikes else now
        self.strikes += 1
        self.cooldowns += 1

    def recent_failures(self, now: float) -> int:
        return sum(when > now - WINDOW_SECONDS for when in self.failures)

    def cool_until(self, when: float) -> None:
        self.cooling_until = max(self.cooling_until, when)
        self.strikes = max(self.strikes, 1)

    def ailing(self, now: float) -> int:
        """Return the seconds since the first of its cooldowns without a success between them."""
        return int(now - self.struck_at) if self.strikes else 0

    def latency(self, now: float, ttl: float, *, stream: bool) -> float | None:
        """Return the mean for streams or complete responses of the last `ttl` seconds, or None without any."""
        samples = self.first_tokens if stream else self.latencies
        while samples and samples[0][0] <= now - ttl:
            samples.popleft()
        return sum(seconds for _, seconds in samples) / len(samples) if samples else None

    def shown(self, now: float, ttl: float) -> dict[str, Any]:
        """Return the state for the operator. Times are in seconds; None means unknown."""
        self.turn_minute(now)
        cooling = max(0.0, self.cooling_until - now)
        return {
            "state": "cooling" if cooling else "probing" if self.resting(now) else "healthy",
            "cooldown_seconds": round(cooling, 1),
            "failures_last_minute": self.recent_failures(now),
            "in_flight": self.in_flight,
            "requests_this_minute": self.requests,
            "tokens_this_minute": self.tokens,
            "seconds_per_token": self.latency(now, ttl, stream=False),
            "seconds_to_first_token": self.latency(now, ttl, stream=True),
        }

    def turn_minute(self, now: float) -> None:
        minute = int(now // 60)
        if minute != self.minute:
            self.minute = minute
            self.requests = self.tokens = 0
