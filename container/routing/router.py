"""Routing without I/O: a generator that says what to try and is told how it went.

    plan = router.route("claude-sonnet")
    step = next(plan)                    # Try(target=…) or Pause(seconds=…)
    step = plan.send(outcome)            # Outcome for a Try, None for a Pause; StopIteration when it is over

It goes to the next healthy deployment at once and waits only when nothing else is left. A deployment that cools down
is tried only when every healthy one, the fallbacks' too, has failed.
"""

import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from ..config import Config, Options
from .groups import Groups, Target
from .health import Health
from .outcome import TRANSIENT, Outcome
from .strategies import simple_shuffle

BACKOFF_SECONDS = 0.25
MAX_BACKOFF_SECONDS = 4.0
# A provider may ask for a longer pause than a client would want to wait here.
MAX_HONOURED_RETRY_AFTER_SECONDS = 10.0

_RETRY_POLICY = {
    "authentication": "AuthenticationErrorRetries",
    "timeout": "TimeoutErrorRetries",
    "rate_limit": "RateLimitErrorRetries",
    "content_policy": "ContentPolicyViolationErrorRetries",
    "caller": "BadRequestErrorRetries",
    "server": "InternalServerErrorRetries",
    "connection": "InternalServerErrorRetries",
}


@dataclass(frozen=True, slots=True)
class Try:
    """Send the request to `target`; `group` is the public name that its answer carries."""

    target: Target
    group: str
    retries: int
    fallbacks: int


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Step = Try | Pause
Plan = Generator[Step, Outcome | None, None]


class Router:
    """Holds what is learnt about deployments; decides, and never waits or sends itself."""

    def __init__(
        self, config: Config, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None
    ) -> None:
        self.groups = Groups(config)
        self.options: Options = config.options
        self._clock = clock
        self._rng = rng or random.Random()
        self.health: dict[str, Health] = {d.id: Health() for d in config.deployments}

    def route(self, model: str) -> Plan:
        """The plan for one request. Ends after a success, after the caller's own mistake, or when all has failed."""
        walk = _Walk(self, model)
        first_pass = [model, *self._fallbacks(model, "fallbacks")]
        yield from walk.through(first_pass, cooling=False)
        if walk.over:
            return
        special = {"context_window": "context_window_fallbacks", "content_policy": "content_policy_fallbacks"}
        last = walk.last
        if last is not None and last.kind in special:
            yield from walk.through(self._fallbacks(model, special[last.kind]), cooling=True)
            return
        yield from walk.through(first_pass, cooling=True)

    def reachable(self, model: str) -> bool:
        """Whether a deployment of the model or of a fallback of it is on."""
        names = (model, *self._fallbacks(model, "fallbacks"))
        return any(not t.deployment.off for name in names for t in self.groups.targets(name))

    def _fallbacks(self, model: str, chain: str) -> list[str]:
        """The public names to try after `model`, each once."""
        chains = getattr(self.options, chain)
        names = chains.get(self.groups.group(model), chains.get("*", ()))
        unique = dict.fromkeys(n for n in names if n != model)
        return list(unique)[: self.options.max_fallbacks]

    def usable(self, targets: Sequence[Target], *, cooling: bool) -> list[Target]:
        """Those that are on and have room. With `cooling`, where none of them is healthy, the cooling ones, the least
        bad first."""
        now = self._clock()
        ready, resting = [], []
        for target in targets:
            d = target.deployment
            health = self.health[d.id]
            if d.off or (d.max_parallel_requests is not None and health.in_flight >= d.max_parallel_requests):
                continue
            (resting if health.cooling(now) else ready).append(target)
        if ready or not cooling:
            return ready
        return sorted(resting, key=lambda t: self.health[t.deployment.id].cooling_until)

    def pick(self, targets: Sequence[Target]) -> Target:
        if self.health[targets[0].deployment.id].cooling(self._clock()):
            return targets[0]
        return simple_shuffle(targets, self._rng)

    def learn(self, target: Target, outcome: Outcome) -> None:
        health = self.health[target.deployment.id]
        if outcome.ok:
            health.succeeded()
        elif not self.options.disable_cooldowns:
            health.failed(
                outcome,
                self._clock(),
                allowed_fails=self.options.allowed_fails,
                cooldown_time=self.options.cooldown_time,
            )

    def retries(self, target: Target, outcome: Outcome) -> int:
        """How many times a group is tried again after such an outcome."""
        policy = self.options.retry_policy.get(_RETRY_POLICY.get(outcome.kind, ""))
        if policy is not None:
            return policy
        own = target.deployment.num_retries
        return self.options.num_retries if own is None else own

    def pause_before_retry(self, outcome: Outcome, retry: int) -> float | None:
        """Seconds until a deployment that has just failed may be tried again; None: not in this request."""
        if outcome.kind not in TRANSIENT:
            return None
        if outcome.retry_after is not None:
            asked = max(outcome.retry_after, self.options.retry_after)
            return asked if asked <= MAX_HONOURED_RETRY_AFTER_SECONDS else None
        backoff = min(BACKOFF_SECONDS * 2 ** (retry - 1), MAX_BACKOFF_SECONDS)
        return max(self.options.retry_after, backoff * (0.5 + self._rng.random() / 2))


class _Walk:
    """One request's way through the groups: what was tried, and whether it is over."""

    def __init__(self, router: Router, model: str) -> None:
        self.router = router
        self.model = model
        self.over = False
        self.last: Outcome | None = None
        self.retries = 0
        self.tried: set[str] = set()

    def through(self, names: Sequence[str], *, cooling: bool) -> Plan:
        for index, name in enumerate(names):
            yield from self._group(name, index, cooling=cooling, more=index + 1 < len(names))
            if self.over:
                return

    def _group(self, name: str, index: int, *, cooling: bool, more: bool) -> Plan:
        router = self.router
        targets = router.groups.targets(name)
        retry = 0
        target: Target | None = None
        while True:
            usable = router.usable(targets, cooling=cooling)
            fresh = [t for t in usable if t.deployment.id not in self.tried]
            if fresh:
                target = router.pick(fresh)
            elif retry == 0 or self.last is None or not usable:
                return
            else:
                pause = router.pause_before_retry(self.last, retry)
                # A rate limit is not waited for while another group can answer.
                if pause is None or (more and self.last.kind == "rate_limit"):
                    return
                target = router.pick([t for t in usable if t != target] or usable)
                yield Pause(pause)
            self.tried.add(target.deployment.id)
            outcome = yield Try(target, name, self.retries, index)
            assert outcome is not None, "a Try is answered with its Outcome"
            router.learn(target, outcome)
            self.last = outcome
            if outcome.ok or outcome.kind == "caller":
                self.over = True
                return
            if outcome.kind in ("context_window", "content_policy"):
                return
            retry += 1
            self.retries += 1
            if retry > router.retries(target, outcome):
                return
