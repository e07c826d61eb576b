import pytest

from worker.api import health


@pytest.mark.parametrize("state", ["running", "sleeping"])
def test_a_container_that_runs_or_can_be_woken_is_healthy(state):
    assert health.health(state, ["mock"]) == (200, {"status": "healthy", "models": ["mock"], "container": state})
    assert health.readiness(state) == (200, {"status": "healthy", "container": state})


def test_unavailable():
    assert health.health("unavailable", []) == (
        503,
        {"status": "unhealthy", "models": [], "container": "unavailable"},
    )
    assert health.readiness("unavailable")[0] == 503


def test_not_ready_while_everything_is_refused():
    assert health.readiness("running", "no key") == (503, {"status": "unhealthy", "reason": "no key"})


def test_root_and_liveliness_ask_nobody():
    assert health.root()[0] == 200
    assert health.liveliness()[0] == 200


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["sleeping", "running"], "running"),
        (["unavailable", "sleeping"], "sleeping"),
        (["unavailable", "unavailable"], "unavailable"),
        ([], "unavailable"),
    ],
)
def test_several_instances_are_as_well_as_the_best(states, expected):
    assert health.overall(states) == expected
