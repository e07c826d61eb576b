"""Routing without I/O: a generator that yields attempts and is sent their outcomes.

    plan = router.route(RouteRequest("claude-sonnet"))
    step = next(plan)                    # Try(target=…) or Pause(seconds=…)
    step = plan.send(outcome)            # Outcome for a Try, None for a Pause; StopIteration at the end

The router moves to the next healthy deployment at once and waits only if nothing else is left. A deployment that is
cooling down is tried only after every healthy one, including those of the fallbacks, has failed. A deployment that
lacks a field of the request is skipped. If all deployments of the requested model lack it, the client has to change the
request.
"""

import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from ..config.deployment import Deployment
from ..config.load import Config, Options
from .health import COUNTED, MAX_COOLDOWN_SECONDS, TRANSIENT, Health, LocalHealth, Most, Outcome, Tolerance, shown


class Target(NamedTuple):
    """A deployment and the model name to send to its provider."""

    deployment: Deployment
    model: str


class Groups:
    """Resolves model names. Everything that does not depend on the request is computed once."""

    def __init__(self, config: Config) -> None:
        self._exact: dict[str, tuple[Target, ...]] = {
            name: tuple(Target(d, d.model) for d in members)
            for name, members in config.groups.items()
            if "*" not in name
        }
        self._aliases: Mapping[str, str] = config.options.model_group_alias
        # The most specific pattern comes first.
        self._wildcards = sorted(
            ((*name.split("*", 1), members) for name, members in config.groups.items() if "*" in name),
            key=lambda entry: (-len(entry[0]) - len(entry[1]), entry[0]),
        )
        self.names: tuple[str, ...] = tuple(dict.fromkeys((*config.groups, *self._aliases)))
        self.members = config.groups

    def group(self, model: str) -> str:
        """Resolve an alias to the group's name."""
        return self._aliases.get(model, model)

    def label(self, model: str) -> str:
        """Return the group's name in the config, with `*` for a wildcard, or "other" for an unknown model."""
        targets = self.targets(model)
        return targets[0].deployment.group if targets else "other"

    def targets(self, model: str) -> tuple[Target, ...]:
        """Return all deployments for a name, including those that are off. Empty for an unknown model."""
        model = self._aliases.get(model, model)
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        if "\0" in model:  # no model name contains NUL, and PostgreSQL cannot store it
            return ()
        for prefix, suffix, members in self._wildcards:
            if len(model) > len(prefix) + len(suffix) and model.startswith(prefix) and model.endswith(suffix):
                filled = model[len(prefix) : len(model) - len(suffix)]
                return tuple(Target(d, d.model.replace("*", filled, 1)) for d in members)
        return ()


# LiteLLM's routing strategies, which choose among healthy deployments. https://docs.litellm.ai/docs/routing

Prices = Mapping[str, float]


class RoutingContext(NamedTuple):
    """The input of a strategy.

    now              seconds on the router's clock
    tokens           estimated tokens of the request
    stream           the request is for a stream
    latency_ttl      seconds for which latencies are used
    latency_buffer   deployments within this share of the fastest count as equal
    prices           USD of one input plus one output token, by deployment id
    """

    health: Mapping[str, Health]
    now: float
    rng: random.Random
    tokens: int = 0
    stream: bool = False
    latency_ttl: float = 3600.0
    latency_buffer: float = 0.0
    prices: Prices | None = None

    def of(self, target: Target) -> Health:
        return self.health[target.deployment.id]


Strategy = Callable[[Sequence[Target], RoutingContext], Target | None]


def simple_shuffle(targets: Sequence[Target], situation: RoutingContext) -> Target | None:
    """Weighted random choice by `weight`, else `rpm`, else `tpm`, else uniform."""
    for attribute in ("weight", "rpm", "tpm"):
        weights = [getattr(t.deployment, attribute) or 0.0 for t in targets]
        total = sum(weights)
        if total:
            point = situation.rng.random() * total
            for target, weight in zip(targets, weights, strict=True):
                point -= weight
                if point < 0:
                    return target
            return targets[-1]
    return situation.rng.choice(targets)


def latency_based(targets: Sequence[Target], situation: RoutingContext) -> Target | None:
    """The fastest recently. A deployment without data goes first, unless a request there is in flight already."""
    known: list[tuple[float, Target]] = []
    for target in targets:
        health = situation.of(target)
        latency = health.latency(situation.now, situation.latency_ttl, stream=situation.stream)
        if latency is not None:
            known.append((latency, target))
        elif health.in_flight == 0:
            return target
    if not known:
        return situation.rng.choice(targets)
    fastest = min(latency for latency, _ in known)
    limit = fastest * (1 + situation.latency_buffer)
    return situation.rng.choice([target for latency, target in known if latency <= limit])


def least_busy(targets: Sequence[Target], situation: RoutingContext) -> Target | None:
    fewest = min(situation.of(t).in_flight for t in targets)
    return situation.rng.choice([t for t in targets if situation.of(t).in_flight == fewest])


def usage_based(targets: Sequence[Target], situation: RoutingContext) -> Target | None:
    """The lowest token usage this minute. None if every deployment is at its `rpm` or `tpm`."""
    room: list[tuple[float, Target]] = []
    for target in targets:
        d, health = target.deployment, situation.of(target)
        health.turn_minute(situation.now)
        if d.rpm is not None and health.requests + 1 > d.rpm:
            continue
        if d.tpm is not None and health.tokens + situation.tokens > d.tpm:
            continue
        room.append((health.tokens / d.tpm if d.tpm else float(health.tokens), target))
    if not room:
        return None
    least = min(used for used, _ in room)
    return situation.rng.choice([target for used, target in room if used == least])


def cost_based(targets: Sequence[Target], situation: RoutingContext) -> Target | None:
    """The cheapest. Deployments without a known price go last."""
    prices = situation.prices or {}
    of = {t.deployment.id: prices.get(t.deployment.id, float("inf")) for t in targets}
    cheapest = min(of.values())
    return situation.rng.choice([t for t in targets if of[t.deployment.id] == cheapest])


USAGE_BASED = "usage-based-routing-v2"
STRATEGIES: dict[str, Strategy] = {
    "simple-shuffle": simple_shuffle,
    "latency-based-routing": latency_based,
    "least-busy": least_busy,
    USAGE_BASED: usage_based,
    "cost-based-routing": cost_based,
}


BACKOFF_SECONDS = 0.25
MAX_BACKOFF_SECONDS = 4.0
# Providers may ask for longer pauses than a client would wait.
MAX_HONOURED_RETRY_AFTER_SECONDS = 10.0

_RETRY_POLICY = {
    "authentication": "AuthenticationErrorRetries",
    "timeout": "TimeoutErrorRetries",
    "rate_limit": "RateLimitErrorRetries",
    "server": "InternalServerErrorRetries",
    "connection": "InternalServerErrorRetries",
}
CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_SPECIAL_CHAINS = {"context_window": "context_window_fallbacks", "content_policy": "content_policy_fallbacks"}


class RouteRequest(NamedTuple):
    """`model`: the client's name for it, or what that stands for. `tokens`: estimated usage. `fallbacks` and
    `num_retries`: the request's own, or None for the configuration's. `only`: ids of the deployments that have what the
    request refers to, None for all. `exhausted`: ids of accounts that are used up; deployments that draw on them are
    passed over. `named`: the client's names for the model and the fallbacks, if any of them is an alias of its team."""

    model: str
    tokens: int = 0
    stream: bool = False
    fallbacks: tuple[str, ...] | None = None
    num_retries: int | None = None
    only: frozenset[str] | None = None
    exhausted: frozenset[str] = frozenset()
    named: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The client's names for the model and the fallbacks."""
        return self.named or (self.model, *(self.fallbacks or ()))

    @property
    def alias(self) -> str:
        """The client's name for the model if that is an alias, else ''."""
        return self.named[0] if self.named and self.named[0] != self.model else ""

    @property
    def named_fallbacks(self) -> list[tuple[str, str]]:
        """The fallbacks: the client's names for them, and what those stand for."""
        return [*zip(self.names[1:], self.fallbacks or (), strict=True)]

    def resolved(self, aliases: Mapping[str, str]) -> "RouteRequest":
        """Return the request with the models that these aliases stand for. An alias of an alias is none, as in
        LiteLLM."""
        names = self.names
        if not self.named and aliases.keys().isdisjoint(names):
            return self
        targets = tuple(aliases.get(name, name) for name in names)
        fallbacks = None if self.fallbacks is None else targets[1:]
        return self._replace(model=targets[0], fallbacks=fallbacks, named=() if targets == names else names)


class Try(NamedTuple):
    """Send the request to `target`. `group` is the public model name for the response, `ailing` as in `Health`."""

    target: Target
    group: str
    retries: int
    fallbacks: int
    ailing: int = 0


class Pause(NamedTuple):
    seconds: float


Step = Try | Pause
Plan = Generator[Step, Outcome | None, None]


class Router:
    """Holds the state of deployments and makes routing decisions, without waiting or sending anything.

    `on_cooldown` is called with a deployment's id and the seconds of its cooldown.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        prices: Prices | None = None,
    ) -> None:
        self.groups = Groups(config)
        self.options: Options = config.options
        self.health: dict[str, Health] = {d.id: LocalHealth() for d in config.deployments}
        by_usage = config.options.routing_strategy == USAGE_BASED
        self._most = {
            d.id: Most(d.max_parallel_requests, *((d.rpm, d.tpm) if by_usage else ())) for d in config.deployments
        }
        self.on_cooldown: Callable[[str, float], None] | None = None
        self._clock = clock
        self._rng = rng or random.Random()
        self._prices = prices
        self._chains: dict[tuple[str, str], list[str]] = {}  # (chain, model) -> names, computed once
        self._reachable: dict[str, bool] = {}  # by model, computed once
        self._strategy = STRATEGIES[config.options.routing_strategy]
        limited = config.options.policy.accounts
        accounts = {
            d.id: (f"provider:{d.provider}", f"model:{d.group}", f"deployment:{d.id}")
            for d in config.deployments
            if limited
        }
        # The ledger's accounts of each deployment that has any.
        self.accounts = {
            id: own for id, names in accounts.items() if (own := tuple(name for name in names if name in limited))
        }
        self._ordered = any(d.order is not None for d in config.deployments)

    def route(self, request: RouteRequest) -> Plan:
        """Return the plan for one request. It ends after a success, an invalid request, or when everything has
        failed."""
        walk = _Walk(self, request)
        names = [request.model, *self.fallbacks(request, "fallbacks")]
        yield from walk.through(names, resting=False)
        if not walk.over:
            yield from walk.through(names, resting=True)

    def reachable(self, request: RouteRequest) -> bool:
        """Whether any deployment of the model or its fallbacks is on."""
        model = request.model
        ordinary = request.fallbacks is None and request.only is None and not request.exhausted
        known = self._reachable.get(model) if ordinary else None
        if known is None:
            names = (model, *self.fallbacks(request, "fallbacks"))
            known = any(not t.deployment.off for name in names for t in self.targets(name, request))
            if ordinary and model in self.groups.names:  # clients can invent other names
                self._reachable[model] = known
        return known

    def targets(self, name: str, request: RouteRequest) -> Sequence[Target]:
        """Return the targets of a model that may serve the request."""
        found, only, exhausted = self.groups.targets(name), request.only, request.exhausted
        if only is not None:
            found = [t for t in found if t.deployment.id in only]
        if exhausted:
            found = [t for t in found if exhausted.isdisjoint(self.accounts.get(t.deployment.id, ()))]
        return found

    def candidates(self, request: RouteRequest) -> tuple[tuple[str, ...], ...]:
        """Return the accounts of each deployment that may answer, without duplicates; empty if none has any."""
        if not self.accounts:
            return ()
        names = [request.model]
        for chain in CHAINS:
            names += self.fallbacks(request, chain)
        targets = (t for name in dict.fromkeys(names) for t in self.targets(name, request) if not t.deployment.off)
        found = tuple(dict.fromkeys(self.accounts.get(t.deployment.id, ()) for t in targets))
        return found if any(found) else ()

    def fallbacks(self, request: RouteRequest, chain: str) -> list[str]:
        """Return the public names to try after the model: its chain, then the chains of those, without duplicates.

        `chain` is an attribute of `Options`.
        """
        if request.fallbacks is not None:
            return self._limited(request.model, request.fallbacks) if chain == "fallbacks" else []
        chains: Mapping[str, Sequence[str]] = getattr(self.options, chain)
        if not chains:
            return []
        group = self.groups.group(request.model)
        known = self._chains.get((chain, group))
        if known is None:
            names = list(chains.get(group, chains.get("*", ())))
            for name in names:
                names += [n for n in chains.get(name, ()) if n not in names]
            known = self._limited(group, names)
            if group in chains:  # clients can invent other names, so those are not cached
                self._chains[(chain, group)] = known
        return known

    def _limited(self, model: str, names: Sequence[str]) -> list[str]:
        unique = dict.fromkeys(n for n in names if n != model and n != self.groups.group(model))
        return list(unique)[: self.options.max_fallbacks]

    def usable(self, targets: Sequence[Target], *, resting: bool) -> list[Target]:
        """Return the targets that are on and have capacity. `resting` appends those that are cooling down, soonest
        available first."""
        now = self._clock()
        ready, cooling = [], []
        for target in targets:
            d = target.deployment
            health = self.health[d.id]
            if d.off or (d.max_parallel_requests is not None and health.in_flight >= d.max_parallel_requests):
                continue
            (cooling if health.resting(now) else ready).append(target)
        if not resting:
            return ready
        return ready + sorted(cooling, key=lambda t: self.health[t.deployment.id].cooling_until)

    def pick(self, targets: Sequence[Target], request: RouteRequest) -> Target | None:
        """Pick one of the healthy `targets` by strategy, else the first. Return None if none has capacity.

        The lowest `order` goes first (https://docs.litellm.ai/docs/proxy/load_balancing).
        """
        now = self._clock()
        targets = [t for t in targets if not self.health[t.deployment.id].resting(now)] or targets[:1]
        if not self._ordered:
            return self._chosen(targets, request, now)
        for order in sorted({_order(t) for t in targets}):
            found = self._chosen([t for t in targets if _order(t) == order], request, now)
            if found is not None:
                return found
        return None

    def _chosen(self, targets: Sequence[Target], request: RouteRequest, now: float) -> Target | None:
        if len(targets) == 1 and self.options.routing_strategy != USAGE_BASED:
            return targets[0]
        options = self.options
        return self._strategy(
            targets,
            RoutingContext(
                self.health,
                now,
                self._rng,
                tokens=request.tokens,
                stream=request.stream,
                latency_ttl=options.latency_ttl,
                latency_buffer=options.lowest_latency_buffer,
                prices=self._prices,
            ),
        )

    def began(self, target: Target, tokens: int) -> bool:
        """Return False if another worker has just taken the deployment's last place."""
        id = target.deployment.id
        return self.health[id].began(self._clock(), tokens, self._most[id])

    def ended(self, target: Target, request: RouteRequest, outcome: Outcome | None) -> None:
        """`outcome` is None for a cancelled request, which says nothing about the deployment."""
        health = self.health[target.deployment.id]
        health.ended()
        if outcome is None:
            return
        now = self._clock()
        if outcome.tokens:
            health.used(now, outcome.tokens - request.tokens)
        if outcome.latency is not None:
            health.took(now, outcome.latency, stream=request.stream)
        if outcome.ok:
            health.succeeded()
        elif outcome.kind == "not_found" and "*" in target.deployment.model:
            return  # the client chose the model; the deployment serves others
        elif not self.options.disable_cooldowns:
            before = health.cooling_until
            options = self.options
            of_kind = options.allowed_fails_policy.get(outcome.kind)
            health.failed(outcome, now, Tolerance(options.allowed_fails, options.cooldown_time, of_kind))
            if self.on_cooldown and health.cooling_until > before:
                self.on_cooldown(target.deployment.id, health.cooling_until - now)

    def shown(self, deployment: str) -> dict[str, Any]:
        """Return a deployment's state for the operator."""
        return shown(self.health[deployment], self._clock(), self.options.latency_ttl)

    def ailing(self, deployment: str) -> int:
        """Return the seconds since its first cooldown without a success in between."""
        return self.health[deployment].ailing(self._clock())

    def adopt(self, deployment: str, known: Health) -> None:
        """Take over state from another router. Both may use it for a while."""
        self.health[deployment] = known

    def cool(self, deployment: str, seconds: float) -> None:
        """Apply a cooldown reported by another replica. It is capped, because clocks may differ."""
        if seconds > 0:
            now = self._clock()
            self.health[deployment].cool_until(now + min(seconds, MAX_COOLDOWN_SECONDS), now)

    def retries(self, request: RouteRequest, target: Target, outcome: Outcome) -> int:
        """Return how many retries a group gets after such an outcome."""
        if request.num_retries is not None:
            return request.num_retries
        policy = self.options.retry_policy.get(_RETRY_POLICY.get(outcome.kind, ""))
        if policy is not None:
            return policy
        own = target.deployment.num_retries
        return self.options.num_retries if own is None else own

    def pause_before_retry(self, outcome: Outcome, retry: int) -> float | None:
        """Return the seconds before a failed deployment may be retried, or None for no retry.

        There is no retry if it might charge twice, or if the account has run out of credit.
        """
        if outcome.kind not in TRANSIENT or outcome.unread or outcome.status == 402:
            return None
        if outcome.retry_after is not None:
            asked = max(outcome.retry_after, self.options.retry_after)
            return asked if asked <= MAX_HONOURED_RETRY_AFTER_SECONDS else None
        backoff = min(BACKOFF_SECONDS * 2 ** (retry - 1), MAX_BACKOFF_SECONDS)
        return max(self.options.retry_after, backoff * (0.5 + self._rng.random() / 2))


def _order(target: Target) -> float:
    """Deployments without an `order` come last."""
    order = target.deployment.order
    return math.inf if order is None else order


class _Walk:
    """The route of one request through the groups: what was tried, and whether it is over."""

    def __init__(self, router: Router, request: RouteRequest) -> None:
        self.router = router
        self.request = request
        self.over = False
        self.last: Outcome | None = None  # ignoring "unsupported", which explains less
        self.retries = 0
        self.tried: set[str] = set()
        self.exhausted: set[str] = set()  # groups that have used up their retries

    def through(self, names: Sequence[str], *, resting: bool, first: int = 0) -> Plan:
        """Try the groups in order. `first`: number of fallbacks before them."""
        for index, name in enumerate(names):
            if self.over:
                return
            yield from self._group(name, first + index, resting=resting, more=index + 1 < len(names))
            special = _SPECIAL_CHAINS.get(self.last.kind) if self.last and not self.over else None
            better = self.router.fallbacks(self.request, special) if special else []
            if better and first == 0:
                yield from self.through(better, resting=True, first=index + 1)
                self.over = True

    def _group(self, name: str, index: int, *, resting: bool, more: bool) -> Plan:
        router = self.router
        targets = router.targets(name, self.request)
        retry = 0
        target: Target | None = None
        while name not in self.exhausted and not self.over:
            usable = router.usable(targets, resting=resting)
            fresh = [t for t in usable if t.deployment.id not in self.tried]
            if not fresh and retry > 0:
                # Prefer a deployment that is cooling down to the one that has just failed, and another group to both.
                fresh = [t for t in router.usable(targets, resting=True) if t.deployment.id not in self.tried]
                if fresh and more:
                    return
            if not fresh:
                if retry == 0 or self.last is None:
                    return
                pause = router.pause_before_retry(self.last, retry)
                # Do not wait for a rate limit while another group can respond.
                if pause is None or (more and self.last.kind == "rate_limit"):
                    return
                yield Pause(pause)
                # In the meantime it may have reached its limit or started to cool down.
                usable = router.usable(targets, resting=True)
                fresh = [t for t in usable if t != target] or usable
            target = router.pick(fresh, self.request) if fresh else None
            if target is None:
                return
            if not router.began(target, self.request.tokens):
                continue
            self.retries += int(retry > 0)
            outcome = yield from self._try(target, name, index)
            if outcome.ok or outcome.final or outcome.kind == "caller":
                self.over = True
                return
            if outcome.kind == "unsupported":
                targets = [t for t in targets if t != target and not t.deployment.off]
                self.over = not targets and index == 0
                continue
            retry += 1
            chain = _SPECIAL_CHAINS.get(outcome.kind)
            better = router.fallbacks(self.request, chain) if chain else []
            if better or retry > router.retries(self.request, target, outcome):
                self.exhausted.add(name)

    def _try(self, target: Target, name: str, index: int) -> Generator[Step, Outcome | None, Outcome]:
        again = target.deployment.id in self.tried
        self.tried.add(target.deployment.id)
        outcome: Outcome | None = None
        try:
            ailing = self.router.ailing(target.deployment.id)
            outcome = yield Try(target, name, self.retries, index, ailing)
        finally:
            # If the request itself causes the failures, they count only once, however often it is retried.
            counted = outcome._replace(blameless=True) if again and outcome and outcome.kind in COUNTED else outcome
            self.router.ended(target, self.request, counted)
        assert outcome is not None, "a Try is answered with its Outcome"
        if outcome.kind != "unsupported":
            self.last = outcome
        return outcome
