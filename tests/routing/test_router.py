"""Routing decisions: which deployment is tried, in what order, how often, and what comes next."""

import random

import pytest

from container.routing.health import OK, Outcome
from container.routing.router import Router, RouteRequest, Try

from .support import RATE_LIMIT, SERVER_ERROR, UNSUPPORTED, Clock, config, deployment, run

CHAIN = {"fallbacks": {"claude": ("gpt", "gemini")}}


def make(*deployments, clock=None, **options) -> Router:
    return Router(config(deployments, **options), clock or Clock(), random.Random(7))


def chain(**options) -> Router:
    options = {**CHAIN, **options}
    return make(deployment("claude", "c"), deployment("gpt", "g"), deployment("gemini", "m"), **options)


def test_a_failure_goes_to_the_next_deployment_of_the_group_at_once():
    router = make(deployment("a", "a1", weight=1), deployment("a", "a2", weight=0))
    assert run(router, "a", {"a1": SERVER_ERROR}) == ["a1", "a2"]


def test_the_lowest_order_is_tried_first_and_the_others_after_it_fails():
    for seed in range(20):
        deployments = (
            deployment("a", "last"),
            deployment("a", "second", order=2),
            deployment("a", "first", order=1),
            deployment("a", "too", order=1),
        )
        router = Router(config(deployments), Clock(), random.Random(seed))
        assert run(router, "a", {})[0] in ("first", "too")
        failing = dict.fromkeys(("first", "too", "second"), SERVER_ERROR)
        done = [name for name in run(router, RouteRequest("a", num_retries=3), failing) if name != "pause"]
        assert set(done[:2]) == {"first", "too"}
        assert done[2:] == ["second", "last"]


def test_the_next_order_is_used_only_while_the_first_cools_down():
    clock = Clock()
    router = make(deployment("a", "second", order=2), deployment("a", "first", order=1), clock=clock)
    router.cool("first", 5)
    assert run(router, "a", {}) == ["second"]
    clock.now += 6
    assert run(router, "a", {}) == ["first"]


def test_the_next_order_is_used_when_the_first_is_full():
    router = make(
        deployment("a", "first", order=1, rpm=1),
        deployment("a", "second", order=2, rpm=9),
        routing_strategy="usage-based-routing-v2",
    )
    assert [run(router, "a", {}) for _ in range(3)] == [["first"], ["second"], ["second"]]


def test_failures_beyond_the_policys_allowance_cool_a_deployment_down():
    router = make(deployment("a", "a1"), num_retries=0, allowed_fails_policy={"rate_limit": 2, "server": 0})
    for expected in (False, False, True):
        run(router, "a", {"a1": RATE_LIMIT})
        assert router.health["a1"].resting(1000.0) is expected
    strict = make(deployment("a", "a1"), num_retries=0, allowed_fails_policy={"server": 0})
    run(strict, "a", {"a1": SERVER_ERROR})
    assert strict.health["a1"].resting(1000.0)


def test_a_single_deployment_is_retried_after_a_pause_as_configured():
    assert run(make(deployment("a", "a1")), "a", {"a1": SERVER_ERROR}) == ["a1", "pause", "a1", "pause", "a1"]
    assert run(make(deployment("a", "a1"), num_retries=0), "a", {"a1": SERVER_ERROR}) == ["a1"]


def test_two_retries_per_provider_then_the_fallback():
    assert run(chain(), "claude", {"c": SERVER_ERROR}) == ["c", "pause", "c", "pause", "c", "g"]


def test_a_rate_limit_goes_to_the_fallback_without_waiting():
    assert run(chain(), "claude", {"c": RATE_LIMIT, "g": RATE_LIMIT}) == ["c", "g", "m"]


def test_a_rate_limit_is_waited_for_when_nothing_else_is_left():
    limited = Outcome("rate_limit", 429, retry_after=2)
    assert run(make(deployment("a", "a1")), "a", {"a1": [limited, OK]}) == ["a1", "pause", "a1"]


def test_a_rate_limit_longer_than_the_client_timeout_is_not_waited_for():
    limited = Outcome("rate_limit", 429, retry_after=3600)
    assert run(make(deployment("a", "a1")), "a", {"a1": limited}) == ["a1"]


@pytest.mark.parametrize("kind", ["authentication", "not_found", "timeout"])
def test_an_error_that_a_retry_cannot_fix_is_not_retried(kind):
    assert run(chain(), "claude", {"c": Outcome(kind, 401)}) == ["c", "g"]


@pytest.mark.parametrize("failure", [RATE_LIMIT, SERVER_ERROR, Outcome("timeout"), Outcome("connection")])
def test_another_deployment_is_tried_at_once_after_any_failure(failure):
    router = make(deployment("a", "a1", weight=1), deployment("a", "a2", weight=0), num_retries=1)
    assert run(router, "a", {"a1": failure}) == ["a1", "a2"]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (SERVER_ERROR, ["c", "pause", "c", "pause", "c", "g"]),
        (Outcome("connection"), ["c", "pause", "c", "pause", "c", "g"]),
        (RATE_LIMIT, ["c", "g"]),
        (Outcome("timeout"), ["c", "g"]),
    ],
)
def test_retries_come_before_the_fallback_only_where_they_may_help(failure, expected):
    assert run(chain(num_retries=2), "claude", {"c": failure}) == expected


def test_a_client_error_ends_the_request():
    assert run(chain(), "claude", {"c": Outcome("caller", 400)}) == ["c"]


def test_a_parameter_the_model_does_not_support_is_a_client_error():
    assert run(chain(), "claude", {"c": UNSUPPORTED}) == ["c"]


def test_a_parameter_one_deployment_does_not_support_goes_to_the_next_at_once():
    router = make(
        deployment("a", "a1", weight=1), deployment("a", "a2", weight=0), deployment("b", "b1"), fallbacks={"a": ("b",)}
    )
    assert run(router, "a", {"a1": UNSUPPORTED}) == ["a1", "a2"]
    assert run(router, "a", {"a1": UNSUPPORTED, "a2": UNSUPPORTED}) == ["a1", "a2"]


def test_a_fallback_that_does_not_support_a_parameter_is_skipped():
    assert run(chain(), "claude", {"c": RATE_LIMIT, "g": UNSUPPORTED}) == ["c", "g", "m"]
    assert run(chain(), "claude", {"c": RATE_LIMIT, "g": UNSUPPORTED, "m": UNSUPPORTED}) == ["c", "g", "m"]


def test_a_deployment_that_does_not_support_a_parameter_is_not_retried_beside_a_failing_one():
    router = make(deployment("a", "a1", weight=1), deployment("a", "a2", weight=0))
    wanted = ["a1", "a2", "pause", "a1", "pause", "a1"]
    assert run(router, "a", {"a1": SERVER_ERROR, "a2": UNSUPPORTED}) == wanted


def test_a_fallback_without_a_parameter_is_skipped_when_the_model_is_cooling_or_disabled():
    router = chain()
    router.health["c"].cool_until(2000, 1000)
    assert run(router, "claude", {"g": UNSUPPORTED, "m": UNSUPPORTED}) == ["g", "m", "c"]
    router = make(deployment("a", "a1", off=("KEY",)), deployment("b", "b1"), deployment("c", "c1"),
                  fallbacks={"a": ("b", "c")})  # fmt: skip
    assert run(router, "a", {"b1": UNSUPPORTED}) == ["b1", "c1"]


def test_an_unsupported_parameter_while_the_other_deployment_cools_goes_to_the_fallback_first():
    router = make(deployment("a", "a1"), deployment("a", "a2"), deployment("b", "b1"), fallbacks={"a": ("b",)})
    router.health["a1"].cool_until(2000, 1000)
    assert run(router, "a", {"a2": UNSUPPORTED}) == ["a2", "b1"]
    assert run(router, "a", {"a2": UNSUPPORTED, "b1": UNSUPPORTED}) == ["a2", "b1", "a1"]


def test_after_the_first_byte_there_is_no_failover():
    assert run(chain(), "claude", {"c": Outcome("server", 0, final=True)}) == ["c"]


def test_a_fallback_of_a_fallback_is_followed_without_loops():
    router = make(
        deployment("a", "a1"), deployment("b", "b1"), deployment("c", "c1"),
        fallbacks={"a": ("b",), "b": ("c", "a"), "c": ("a",)}, num_retries=0,
    )  # fmt: skip
    assert run(router, "a", dict.fromkeys(("a1", "b1", "c1"), SERVER_ERROR)) == ["a1", "b1", "c1"]


def test_default_fallbacks_serve_groups_without_a_chain():
    router = make(deployment("a", "a1"), deployment("b", "b1"), fallbacks={"*": ("b",)}, num_retries=0)
    assert run(router, "a", {"a1": SERVER_ERROR}) == ["a1", "b1"]


def test_a_context_window_error_goes_only_to_the_context_window_fallback():
    router = chain(context_window_fallbacks={"claude": ("gemini",)})
    assert run(router, "claude", {"c": Outcome("context_window", 400)}) == ["c", "m"]


def test_a_context_window_error_without_its_own_chain_goes_to_the_fallbacks():
    assert run(chain(), "claude", {"c": Outcome("context_window", 400)}) == ["c", "g"]


def test_a_context_window_error_tries_the_models_other_deployments():
    router = chain(context_window_fallbacks={"gpt": ("gemini",)})
    both = make(deployment("a", "a1"), deployment("a", "a2"))
    [first, second] = run(both, "a", {name: [Outcome("context_window", 413), OK] for name in ("a1", "a2")})[:2]
    assert {first, second} == {"a1", "a2"}
    assert run(router, "claude", {"c": Outcome("context_window", 413)}) == ["c", "g"]


def test_an_unknown_model_named_by_a_client_does_not_cool_the_wildcard_down():
    router = make(deployment("openai/*", "w", model="*"))
    missing = Outcome("not_found", 404, "no such model")
    assert run(router, "openai/made-up", {"w": missing}) == ["w"]
    assert router.health["w"].cooldowns == 0
    assert run(router, "openai/gpt-4o", {}) == ["w"]


def test_a_configured_model_that_does_not_exist_cools_its_deployment_down():
    router = make(deployment("a", "a1"))
    run(router, "a", {"a1": Outcome("not_found", 404, "no such model")})
    assert router.health["a1"].cooldowns == 1


def test_refused_content_goes_to_the_content_policy_fallback():
    router = chain(content_policy_fallbacks={"claude": ("gemini",)})
    assert run(router, "claude", {"c": Outcome("content_policy", 400)}) == ["c", "m"]


def test_a_request_may_name_its_own_fallbacks_and_retries():
    request = RouteRequest("claude", fallbacks=("gemini",), num_retries=0)
    assert run(chain(), request, {"c": SERVER_ERROR}) == ["c", "m"]


def test_a_request_may_disable_fallbacks():
    request = RouteRequest("claude", fallbacks=(), num_retries=0)
    assert run(chain(), request, {"c": SERVER_ERROR}) == ["c"]


def test_retry_policy_by_error_class():
    router = make(deployment("a", "a1"), retry_policy={"InternalServerErrorRetries": 1})
    assert run(router, "a", {"a1": SERVER_ERROR}) == ["a1", "pause", "a1"]


def test_a_disabled_deployment_is_skipped():
    router = make(deployment("a", "a1", off=("KEY",)), deployment("a", "a2"))
    assert run(router, "a", {}) == ["a2"]


def test_a_disabled_group_goes_to_its_fallback():
    router = make(deployment("a", "a1", off=("KEY",)), deployment("b", "b1"), fallbacks={"a": ("b",)})
    assert router.reachable(RouteRequest("a"))
    assert run(router, "a", {}) == ["b1"]


def test_max_parallel_requests_is_never_exceeded():
    router = make(deployment("a", "a1", max_parallel_requests=1), deployment("a", "a2", weight=0))
    first, second = router.route(RouteRequest("a")), router.route(RouteRequest("a"))
    steps = [next(first), next(second)]
    assert all(isinstance(s, Try) for s in steps)
    assert [s.target.deployment.id for s in steps] in (["a1", "a2"], ["a2", "a1"])


def test_a_full_group_yields_no_attempt():
    router = make(deployment("a", "a1", max_parallel_requests=1))
    running = router.route(RouteRequest("a"))
    next(running)
    assert next(router.route(RouteRequest("a")), None) is None
    running.close()
    assert next(router.route(RouteRequest("a")), None) is not None


class TestCooldown:
    def test_a_429_cools_down_for_the_providers_retry_after(self):
        clock = Clock()
        router = make(deployment("a", "a1"), deployment("a", "a2"), clock=clock, num_retries=0)
        limited = Outcome("rate_limit", 429, retry_after=30)
        while run(router, "a", {"a1": limited}) == ["a2"]:
            pass
        assert [run(router, "a", {}) for _ in range(20)] == [["a2"]] * 20
        clock.now += 31
        assert ["a1"] in [run(router, "a", {}) for _ in range(20)]

    def test_other_failures_cool_down_after_more_than_allowed_fails_per_minute(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock, num_retries=0, allowed_fails=3, cooldown_time=10)
        for _ in range(3):
            run(router, "a", {"a1": SERVER_ERROR})
        assert not router.health["a1"].resting(clock())
        run(router, "a", {"a1": SERVER_ERROR})
        assert router.health["a1"].resting(clock())

    def test_one_request_counts_once_however_often_it_is_retried(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock, allowed_fails=1)
        request = RouteRequest("a", num_retries=10)
        assert run(router, request, {"a1": SERVER_ERROR}, clock).count("a1") == 11
        assert router.health["a1"].cooldowns == 0
        run(router, request, {"a1": SERVER_ERROR}, clock)
        assert router.health["a1"].cooldowns == 1

    def test_failures_older_than_a_minute_do_not_count(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock, num_retries=0, allowed_fails=1)
        for _ in range(5):
            run(router, "a", {"a1": SERVER_ERROR})
            clock.now += 61
        assert not router.health["a1"].resting(clock())

    def test_when_all_are_cooling_the_earliest_to_recover_is_tried(self):
        clock = Clock()
        router = make(deployment("a", "a1"), deployment("a", "a2"), clock=clock)
        router.health["a1"].cool_until(clock() + 100, clock())
        router.health["a2"].cool_until(clock() + 50, clock())
        assert run(router, "a", {}) == ["a2"]

    def test_a_healthy_fallback_goes_before_a_cooling_deployment(self):
        router = chain()
        router.health["c"].cool_until(2000, 1000)
        assert run(router, "claude", {}) == ["g"]
        assert run(router, "claude", {"g": SERVER_ERROR, "m": SERVER_ERROR})[-1] == "c"

    def test_after_a_cooldown_one_request_probes_and_the_others_wait(self):
        clock = Clock()
        router = make(deployment("a", "a1"), deployment("a", "a2"), clock=clock)
        router.health["a1"].cool_until(clock() + 5, clock())
        router.health["a2"].cool_until(clock() + 500, clock())
        clock.now += 6
        probe = router.route(RouteRequest("a"))
        assert next(probe).target.deployment.id == "a1"
        assert router.health["a1"].resting(clock())
        with pytest.raises(StopIteration):
            probe.send(OK)
        assert not router.health["a1"].resting(clock())

    def test_a_failed_probe_doubles_the_cooldown(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock, num_retries=0, cooldown_time=10)
        run(router, "a", {"a1": Outcome("authentication", 401)})
        clock.now += 11
        run(router, "a", {"a1": SERVER_ERROR})
        assert router.health["a1"].cooling_until == pytest.approx(clock() + 20)

    def test_an_abandoned_probe_lets_the_next_request_probe(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock)
        router.health["a1"].cool_until(clock() + 5, clock())
        clock.now += 6
        probe = router.route(RouteRequest("a"))
        next(probe)
        probe.close()
        assert not router.health["a1"].resting(clock())

    def test_no_cooldown_when_disabled(self):
        clock = Clock()
        router = make(deployment("a", "a1"), clock=clock, disable_cooldowns=True)
        run(router, "a", {"a1": Outcome("authentication", 401)})
        assert not router.health["a1"].resting(clock())

    def test_is_published_to_on_cooldown(self):
        told = []
        router = make(deployment("a", "a1"), num_retries=0, cooldown_time=10)
        router.on_cooldown = lambda name, seconds: told.append((name, seconds))
        run(router, "a", {"a1": Outcome("authentication", 401)})
        assert told == [("a1", 10)]


def test_exhausted_credit_cools_down_for_longer_than_seconds():
    router = Router(config([deployment("a", "a1")], num_retries=2))
    assert run(router, "a", {"a1": Outcome("server", 402, "Insufficient credits")}) == ["a1"]
