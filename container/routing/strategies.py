"""LiteLLM's routing strategies, which choose among healthy deployments.

Source: https://docs.litellm.ai/docs/routing
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .groups import Target
from .health import Health

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
