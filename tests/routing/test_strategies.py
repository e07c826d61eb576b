"""Routing strategies: which of several healthy deployments is tried first."""

import random
from collections import Counter

from container.routing.health import OK, Outcome
from container.routing.router import Router, RouteRequest

from .support import Clock, config, deployment, run


def make(*deployments, strategy, clock=None, prices=None, **options) -> Router:
    chosen = config(deployments, routing_strategy=strategy, **options)
    return Router(chosen, clock or Clock(), random.Random(7), prices)


def firsts(router: Router, times: int, request: RouteRequest | None = None) -> Counter:
    return Counter(run(router, request or RouteRequest("a"), {})[0] for _ in range(times))


def test_shuffle_follows_the_weights():
    router = make(deployment("a", "x", weight=9), deployment("a", "y", weight=1), strategy="simple-shuffle")
    share = firsts(router, 1000)["x"] / 1000
    assert 0.85 < share < 0.95


def test_shuffle_follows_rpm_without_weights():
    router = make(deployment("a", "x", rpm=900), deployment("a", "y", rpm=100), strategy="simple-shuffle")
    assert 0.85 < firsts(router, 1000)["x"] / 1000 < 0.95


def test_shuffle_treats_equal_deployments_equally():
    router = make(deployment("a", "x"), deployment("a", "y"), strategy="simple-shuffle")
    assert 400 < firsts(router, 1000)["x"] < 600


class TestLatency:
    def serve(self, router: Router, clock: Clock, latency: dict[str, float], times: int, stream=False) -> Counter:
        seen: Counter = Counter()
        for _ in range(times):
            plan = router.route(RouteRequest("a", stream=stream))
            name = next(plan).target.deployment.id
            seen[name] += 1
            clock.now += latency[name]
            for _ in plan_end(plan, Outcome("ok", 200, latency=latency[name])):
                pass
        return seen

    def test_finds_the_fastest_and_stays_with_it(self):
        clock = Clock()
        names = ("x", "y", "z")
        router = make(*(deployment("a", n) for n in names), strategy="latency-based-routing", clock=clock)
        latency = {"x": 0.5, "y": 0.1, "z": 0.3}
        self.serve(router, clock, latency, 3)
        assert self.serve(router, clock, latency, 50) == {"y": 50}

    def test_switches_when_the_fastest_slows_down(self):
        clock = Clock()
        router = make(deployment("a", "x"), deployment("a", "y"), strategy="latency-based-routing", clock=clock)
        self.serve(router, clock, {"x": 0.1, "y": 0.3}, 30)
        slow = {"x": 2.0, "y": 0.3}
        self.serve(router, clock, slow, 10)
        assert self.serve(router, clock, slow, 50) == {"y": 50}

    def test_samples_expire_after_the_ttl(self):
        clock = Clock()
        router = make(
            deployment("a", "x"), deployment("a", "y"), strategy="latency-based-routing", clock=clock, latency_ttl=60
        )
        self.serve(router, clock, {"x": 0.1, "y": 5.0}, 20)
        clock.now += 120
        now = {"x": 0.1, "y": 0.01}
        self.serve(router, clock, now, 4)
        assert self.serve(router, clock, now, 20) == {"y": 20}

    def test_the_buffer_treats_close_ones_as_equal(self):
        clock = Clock()
        router = make(
            deployment("a", "x"), deployment("a", "y"),
            strategy="latency-based-routing", clock=clock, lowest_latency_buffer=0.5,
        )  # fmt: skip
        seen = self.serve(router, clock, {"x": 0.10, "y": 0.12}, 100)
        assert min(seen.values()) > 20

    def test_streams_and_plain_answers_are_measured_separately(self):
        clock = Clock()
        router = make(deployment("a", "x"), deployment("a", "y"), strategy="latency-based-routing", clock=clock)
        self.serve(router, clock, {"x": 0.1, "y": 0.2}, 10, stream=False)
        self.serve(router, clock, {"x": 0.2, "y": 0.1}, 10, stream=True)
        assert firsts(router, 10, RouteRequest("a", stream=True)) == {"y": 10}
        assert firsts(router, 10) == {"x": 10}


def plan_end(plan, outcome):
    try:
        yield plan.send(outcome)
    except StopIteration:
        return


def test_least_busy_takes_the_one_with_fewest_in_flight():
    router = make(deployment("a", "x"), deployment("a", "y"), strategy="least-busy")
    running = [router.route(RouteRequest("a")) for _ in range(10)]
    seen = Counter(next(plan).target.deployment.id for plan in running)
    assert seen == {"x": 5, "y": 5}


class TestUsage:
    def test_stays_under_the_requests_per_minute(self):
        clock = Clock(6000)
        router = make(
            deployment("a", "x", rpm=3), deployment("a", "y", rpm=5), strategy="usage-based-routing-v2", clock=clock
        )
        seen = Counter()
        for _ in range(20):
            seen.update(run(router, "a", {}))
        assert seen == {"x": 3, "y": 5}
        clock.now += 60
        assert run(router, "a", {}) in (["x"], ["y"])

    def test_stays_under_the_tokens_per_minute(self):
        router = make(deployment("a", "x", tpm=1000), strategy="usage-based-routing-v2")
        seen = [run(router, RouteRequest("a", tokens=300), {"x": Outcome("ok", 200, tokens=300)}) for _ in range(5)]
        assert seen == [["x"], ["x"], ["x"], [], []]

    def test_counts_actual_instead_of_estimated_tokens(self):
        router = make(deployment("a", "x", tpm=1000), strategy="usage-based-routing-v2")
        for _ in range(20):
            assert run(router, RouteRequest("a", tokens=300), {"x": Outcome("ok", 200, tokens=10)}) == ["x"]

    def test_spreads_by_remaining_capacity(self):
        router = make(deployment("a", "x", tpm=1000), deployment("a", "y", tpm=4000), strategy="usage-based-routing-v2")
        seen = Counter()
        for _ in range(20):
            seen.update(run(router, RouteRequest("a", tokens=100), {n: replace_tokens(100) for n in "xy"}))
        assert seen["y"] > 3 * seen["x"]


def replace_tokens(tokens: int) -> Outcome:
    return Outcome(OK.kind, 200, tokens=tokens)


def test_cost_takes_the_cheapest_and_an_unknown_price_last():
    names = ("x", "y", "z")
    router = make(*(deployment("a", n) for n in names), strategy="cost-based-routing", prices={"x": 2e-6, "y": 1e-6})
    assert firsts(router, 20) == {"y": 20}
