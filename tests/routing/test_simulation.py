"""Property test: many concurrent requests through random deployments with random failures."""

import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from container.routing.health import OK, Outcome
from container.routing.router import STRATEGIES, Pause, Plan, Router, RouteRequest, Try
from tests.thorough import examples

from .support import Clock, config, deployment

GROUPS = ("a", "b", "c")
FAILURES = (
    Outcome("server", 500),
    Outcome("rate_limit", 429),
    Outcome("rate_limit", 429, retry_after=3),
    Outcome("rate_limit", 429, retry_after=500),
    Outcome("authentication", 401),
    Outcome("not_found", 404),
    Outcome("timeout", 0),
    Outcome("connection", 0),
    Outcome("context_window", 400),
    Outcome("content_policy", 400),
    Outcome("caller", 400),
    Outcome("unsupported", 400),
)

deployments = st.lists(
    st.tuples(
        st.sampled_from(GROUPS),
        st.sampled_from([None, 1, 2, 5]),  # max_parallel_requests
        st.sampled_from([0, 0, 0, 1]),  # disabled
        st.floats(0, 1),  # failure rate
        st.floats(0.01, 5),  # seconds
    ),
    min_size=1,
    max_size=8,
)
chains = st.dictionaries(st.sampled_from([*GROUPS, "*"]), st.lists(st.sampled_from(GROUPS), max_size=3).map(tuple))


@dataclass
class Running:
    plan: Plan
    step: Try | Pause
    due: float
    tries: list[str] = field(default_factory=list)
    last: Outcome | None = None


@settings(max_examples=examples(150, 50), deadline=None)
@given(
    deployments,
    chains,
    chains,
    st.sampled_from(sorted(STRATEGIES)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers().map(random.Random),
)
def test_routing_invariants(members, fallbacks, windows, strategy, num_retries, allowed_fails, rng: random.Random):
    made = [
        deployment(group, f"d{i}", max_parallel_requests=parallel, off=("KEY",) if off else ())
        for i, (group, parallel, off, _, _) in enumerate(members)
    ]
    failing = {f"d{i}": m[3] for i, m in enumerate(members)}
    slow = {f"d{i}": m[4] for i, m in enumerate(members)}
    by_id = {d.id: d for d in made}
    clock = Clock()
    router = Router(
        config(
            made,
            fallbacks=fallbacks,
            context_window_fallbacks=windows,
            routing_strategy=strategy,
            num_retries=num_retries,
            allowed_fails=allowed_fails,
        ),
        clock,
        rng,
    )
    # Each group is walked at most twice: first its healthy deployments, then the cooling ones.
    bound = 2 * sum(min(num_retries, 10) + 1 for _ in range(1 + 2 * router.options.max_fallbacks))
    running: list[Running] = []
    in_flight: Counter = Counter()
    finished = 0

    def place(one: Running) -> None:
        if isinstance(one.step, Pause):
            assert one.step.seconds <= 10
            one.due = clock.now + one.step.seconds
            return
        name = one.step.target.deployment.id
        d = by_id[name]
        assert not d.off
        in_flight[name] += 1
        assert d.max_parallel_requests is None or in_flight[name] <= d.max_parallel_requests
        assert in_flight[name] == router.health[name].in_flight
        one.tries.append(name)
        assert len(one.tries) <= bound
        one.due = clock.now + slow[name]

    for _ in range(120):
        if len(running) < 12 and rng.random() < 0.6:
            plan = router.route(RouteRequest(rng.choice(GROUPS)))
            step = next(plan, None)
            if step is not None:
                running.append(Running(plan, step, clock.now))
                place(running[-1])
        elif running:
            one = min(running, key=lambda r: r.due)
            clock.now = max(clock.now, one.due)
            outcome: Outcome | None = None
            if isinstance(one.step, Try):
                name = one.step.target.deployment.id
                in_flight[name] -= 1
                outcome = rng.choice(FAILURES) if rng.random() < failing[name] else OK
            if rng.random() < 0.05:  # the client disconnects
                one.plan.close()
                running.remove(one)
                continue
            try:
                one.step = one.plan.send(outcome)
                place(one)
            except StopIteration:
                running.remove(one)
                finished += 1
    for one in running:
        if isinstance(one.step, Try):
            in_flight[one.step.target.deployment.id] -= 1
        one.plan.close()
    assert not +in_flight
    assert all(h.in_flight == 0 for h in router.health.values())


@settings(max_examples=examples(150, 50), deadline=None)
@given(deployments, chains, st.sampled_from(sorted(STRATEGIES)), st.integers().map(random.Random))
def test_a_healthy_deployment_is_always_found(members, fallbacks, strategy, rng: random.Random):
    """Whatever is cooling down: if any reachable deployment works, the request is answered."""
    made = [deployment(m[0], f"d{i}", off=("KEY",) if m[2] else ()) for i, m in enumerate(members)]
    clock = Clock()
    router = Router(
        config(made, fallbacks=fallbacks, routing_strategy=strategy, num_retries=8, max_fallbacks=8), clock, rng
    )
    for d in made:
        if rng.random() < 0.5:
            router.health[d.id].cool_until(clock.now + rng.random() * 100, clock.now)
    healthy = {d.id for d in made if not d.off and rng.random() < 0.5}
    request = RouteRequest("a")
    reach = ["a", *router.fallbacks(request, "fallbacks")]
    expected = any(t.deployment.id in healthy for name in reach for t in router.groups.targets(name))
    plan, answered = router.route(request), False
    step = next(plan, None)
    while step is not None:
        outcome = None
        if isinstance(step, Try):
            answered = step.target.deployment.id in healthy
            outcome = OK if answered else rng.choice(FAILURES[:8])
        try:
            step = plan.send(outcome)
        except StopIteration:
            break
    assert answered == expected


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["simple-shuffle", "least-busy"]), st.integers(2, 6), st.integers().map(random.Random))
def test_no_healthy_deployment_starves(strategy, count, rng):
    router = Router(config([deployment("a", f"d{i}") for i in range(count)], routing_strategy=strategy), Clock(), rng)
    seen = Counter()
    for _ in range(count * 60):
        plan = router.route(RouteRequest("a"))
        seen[next(plan).target.deployment.id] += 1
        plan.close()
    assert len(seen) == count
    assert min(seen.values()) > 10
