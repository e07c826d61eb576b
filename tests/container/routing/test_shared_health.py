"""The health of a deployment as one of several workers sees it."""

import os
import signal

import pytest

from container.routing.health import (
    Health,
    Most,
    Outcome,
    Tolerance,
    shown,
)
from container.routing.shared_health import HealthBoard, SharedHealth

SERVER = Outcome("server", 500)


def fail(health: Health, now: float, outcome: Outcome = SERVER, allowed_fails: int = 2, cooldown: float = 10.0) -> None:
    health.failed(outcome, now, Tolerance(allowed_fails, cooldown))


NOW = 1000.0


@pytest.fixture
def board() -> HealthBoard:
    return HealthBoard(3, 4)


@pytest.fixture
def workers(board: HealthBoard) -> list[SharedHealth]:
    return [SharedHealth(board, 1, number) for number in range(3)]


def test_requests_are_summed(workers: list[SharedHealth]) -> None:
    for health in workers:
        health.began(NOW, 5)
    assert {(one.in_flight, one.requests, one.tokens) for one in workers} == {(3, 3, 15)}
    workers[0].ended()
    assert {one.in_flight for one in workers} == {2}


def test_the_last_place_is_given_once(workers: list[SharedHealth]) -> None:
    most = Most(parallel=2)
    assert [one.began(NOW, 1, most) for one in workers] == [True, True, False]
    workers[0].ended()
    assert workers[2].began(NOW, 1, most)


@pytest.mark.parametrize("most", [Most(requests=2), Most(tokens=20)])
def test_a_minute_has_its_limit_over_all(workers: list[SharedHealth], most: Most) -> None:
    assert [one.began(NOW, 10, most) for one in workers] == [True, True, False]
    assert workers[2].began(NOW + 60, 10, most)


def test_tokens_are_corrected_in_the_row_of_whoever_sent_them(workers: list[SharedHealth]) -> None:
    workers[0].began(NOW, 10)
    workers[0].used(NOW, 5)
    workers[1].began(NOW, 10)
    workers[1].used(NOW, -20)
    assert shown(workers[2], NOW, 60)["tokens_this_minute"] == 15


def test_failures_count_together_and_a_cooldown_is_seen_by_all(workers: list[SharedHealth]) -> None:
    for health in workers:
        assert not health.resting(NOW)
        fail(health, NOW)
    assert all(one.resting(NOW + 9) for one in workers)
    assert {one.cooldowns for one in workers} == {1}
    assert not any(one.resting(NOW + 10) for one in workers)


def test_a_success_anywhere_ends_the_count(workers: list[SharedHealth]) -> None:
    fail(workers[0], NOW)
    fail(workers[1], NOW)
    workers[2].succeeded()
    fail(workers[0], NOW)
    assert not workers[0].resting(NOW)
    assert workers[0].recent_failures(NOW) == 1


def test_after_a_cooldown_one_worker_probes(workers: list[SharedHealth]) -> None:
    workers[0].cool_until(NOW, NOW)
    assert [one.began(NOW, 1) for one in workers[:1]] == [True]
    assert all(one.resting(NOW) for one in workers)
    workers[0].ended()
    workers[0].succeeded()
    assert not any(one.resting(NOW) for one in workers)


def test_latencies_are_those_of_all(workers: list[SharedHealth]) -> None:
    workers[0].took(NOW, 1.0, stream=False)
    workers[1].took(NOW - 100, 5.0, stream=False)
    workers[2].took(NOW, 3.0, stream=False)
    assert workers[1].latency(NOW, 60, stream=False) == 2.0
    assert workers[1].latency(NOW, 60, stream=True) is None
    for _ in range(30):
        workers[0].took(NOW, 1.0, stream=True)
    assert workers[1].latency(NOW, 60, stream=True) == 1.0


def test_what_a_dead_worker_sent_counts_until_the_minute_ends(board: HealthBoard, workers: list[SharedHealth]) -> None:
    workers[1].began(NOW, 7)
    workers[0].cool_until(NOW, NOW)
    workers[0].began(NOW, 7)
    assert workers[1].resting(NOW)  # it is probed
    board.left(0, [1])
    assert workers[1].in_flight == 1
    assert shown(workers[1], NOW, 60)["requests_this_minute"] == 2
    assert not workers[1].resting(NOW)


def test_places_are_separate_and_can_be_cleared(board: HealthBoard, workers: list[SharedHealth]) -> None:
    other = SharedHealth(board, 2, 0)
    workers[0].began(NOW, 1)
    assert other.in_flight == 0
    board.clear(1)
    assert workers[0].in_flight == 0


def test_a_killed_process_leaves_no_lock(board: HealthBoard, workers: list[SharedHealth]) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with board.lock:
            workers[0].began(NOW, 1)
            os.write(told, b"x")
            signal.pause()
    os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert workers[1].began(NOW, 1, Most(parallel=2))
    assert workers[1].in_flight == 2
