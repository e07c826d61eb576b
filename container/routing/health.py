"""What is known about each deployment: failures, cooldown, requests in flight."""

from collections import deque
from dataclasses import dataclass, field

from .outcome import UNHEALTHY, Outcome

WINDOW_SECONDS = 60.0
MAX_COOLDOWN_SECONDS = 300.0


@dataclass(slots=True)
class Health:
    """Times on the router's clock, in seconds."""

    in_flight: int = 0
    cooling_until: float = 0.0
    failures: deque[float] = field(default_factory=deque)

    def cooling(self, now: float) -> bool:
        return now < self.cooling_until

    def succeeded(self) -> None:
        self.failures.clear()
        self.cooling_until = 0.0

    def failed(self, outcome: Outcome, now: float, *, allowed_fails: int, cooldown_time: float) -> None:
        """Counts a failure; cools at once when the provider says so or when trying again is pointless."""
        if outcome.kind not in UNHEALTHY:
            return
        self.failures.append(now)
        while self.failures and self.failures[0] <= now - WINDOW_SECONDS:
            self.failures.popleft()
        if outcome.kind == "rate_limit":
            pause = cooldown_time if outcome.retry_after is None else outcome.retry_after
        elif outcome.kind in ("authentication", "not_found") or len(self.failures) > allowed_fails:
            pause = cooldown_time
        else:
            return
        self.cooling_until = max(self.cooling_until, now + min(pause, MAX_COOLDOWN_SECONDS))
