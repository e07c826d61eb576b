"""The health of a deployment, with a fake clock, in one process and as one of several workers sees it."""

import pytest

from container.routing.health import (
    LATENCY_SAMPLES,
    MAX_COOLDOWN_SECONDS,
    OK,
    TRANSIENT,
    UNHEALTHY,
    WINDOW_SECONDS,
    Health,
    LocalHealth,
    Outcome,
    Tolerance,
)
from container.routing.shared_health import HealthBoard, SharedHealth

SERVER = Outcome("server", 500)


@pytest.fixture(params=["local", "shared"])
def health(request: pytest.FixtureRequest) -> Health:
    return LocalHealth() if request.param == "local" else SharedHealth(HealthBoard(2, 2), 1, 1)


def fail(health: Health, now: float, outcome: Outcome = SERVER, allowed_fails: int = 2, cooldown: float = 10.0) -> None:
    health.failed(outcome, now, Tolerance(allowed_fails, cooldown))


def test_new_deployment_is_healthy(health: Health):
    assert not health.resting(0.0)


def test_deployment_cools_down_after_too_many_failures(health: Health):
    fail(health, 1.0)
    fail(health, 2.0)
    assert not health.resting(2.0)
    fail(health, 3.0)
    assert health.resting(3.0)
    assert health.resting(12.9)
    assert not health.resting(13.0)


def test_failures_expire(health: Health):
    fail(health, 0.0)
    fail(health, 1.0)
    fail(health, WINDOW_SECONDS + 1.5)
    assert not health.resting(WINDOW_SECONDS + 1.5)


def test_success_resets_failures_and_ends_a_cooldown(health: Health):
    for now in (1.0, 2.0, 3.0):
        fail(health, now)
    health.succeeded()
    assert not health.resting(3.0)
    fail(health, 4.0)
    assert not health.resting(4.0)


@pytest.mark.parametrize("kind", ["authentication", "not_found", "rate_limit"])
def test_deployment_cools_down_at_once_when_a_retry_is_pointless(health: Health, kind):
    fail(health, 0.0, Outcome(kind, 400))
    assert health.resting(9.9)
    assert not health.resting(10.0)


def test_cooldown_lasts_as_long_as_the_provider_asks(health: Health):
    fail(health, 0.0, Outcome("rate_limit", 429, retry_after=42.0))
    assert health.resting(41.9)
    assert not health.resting(42.0)


def test_cooldown_has_a_maximum(health: Health):
    fail(health, 0.0, Outcome("rate_limit", 429, retry_after=1e9))
    assert not health.resting(MAX_COOLDOWN_SECONDS)


@pytest.mark.parametrize("kind", ["caller", "context_window", "content_policy", "ok"])
def test_clients_mistakes_do_not_affect_health(health: Health, kind):
    for now in range(50):
        fail(health, float(now), Outcome(kind, 400))
    assert not health.resting(50.0)
    assert health.recent_failures(50.0) == 0


def test_failure_right_after_a_cooldown_causes_a_longer_one(health: Health):
    for now in (0.0, 0.0, 0.0):
        fail(health, now)
    assert not health.resting(10.0)
    fail(health, 10.0)
    assert health.resting(29.9)
    assert not health.resting(30.0)


def test_shorter_cooldown_does_not_shorten_a_longer_one(health: Health):
    fail(health, 0.0, Outcome("rate_limit", 429, retry_after=100.0))
    fail(health, 1.0, Outcome("rate_limit", 429, retry_after=1.0))
    assert health.resting(99.0)


def test_one_request_probes_after_a_cooldown_and_the_others_wait(health: Health):
    fail(health, 0.0, Outcome("not_found", 404))
    assert not health.resting(10.0)
    health.began(10.0, 0)
    assert health.resting(10.0)
    health.ended()
    health.succeeded()
    health.began(10.0, 0)
    assert not health.resting(10.0)


def test_abandoned_probe_lets_another_one_through(health: Health):
    fail(health, 0.0, Outcome("not_found", 404))
    health.began(10.0, 0)
    health.ended()
    assert not health.resting(10.0)


def test_requests_in_flight_are_counted(health: Health):
    health.began(0.0, 5)
    health.began(0.0, 7)
    assert (health.in_flight, health.requests, health.tokens) == (2, 2, 12)
    health.ended()
    assert (health.in_flight, health.requests) == (1, 2)


def test_new_minute_starts_at_zero(health: Health):
    health.began(59.0, 5)
    health.began(60.0, 1)
    assert (health.requests, health.tokens, health.in_flight) == (1, 1, 2)


def test_latency_is_the_mean_of_recent_samples_separately_for_streams(health: Health):
    assert health.latency(0.0, 100.0, stream=False) is None
    for now, seconds in ((0.0, 9.0), (50.0, 1.0), (60.0, 3.0)):
        health.took(now, seconds, stream=False)
    health.took(60.0, 0.5, stream=True)
    assert health.latency(60.0, 100.0, stream=False) == pytest.approx(13 / 3)
    assert health.latency(110.0, 100.0, stream=False) == 2.0
    assert health.latency(110.0, 100.0, stream=True) == 0.5
    assert health.latency(1000.0, 100.0, stream=True) is None


def test_number_of_samples_is_limited(health: Health):
    for now in range(LATENCY_SAMPLES):
        health.took(float(now), 9.0, stream=False)
    for now in range(LATENCY_SAMPLES):
        health.took(float(now), 1.0, stream=False)
    assert health.latency(0.0, 100.0, stream=False) == 1.0


def test_outcomes():
    assert OK.ok
    assert not SERVER.ok
    assert TRANSIENT <= UNHEALTHY
    assert not UNHEALTHY & {"ok", "caller", "context_window", "content_policy"}


def test_a_deployment_ails_from_its_first_cooldown_until_a_success(health: Health):
    fail(health, 1.0)
    assert health.ailing(400.0) == 0  # it only failed
    fail(health, 2.0)
    fail(health, 3.0)
    fail(health, 100.0)
    assert health.ailing(303.5) == 300
    health.succeeded()
    assert health.ailing(400.0) == 0
    for now in (500.0, 501.0, 502.0):
        fail(health, now)
    assert health.ailing(512.0) == 10
