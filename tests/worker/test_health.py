"""Health, as both doors answer it: the edge by its container, the proxy by its engine."""

from typing import Any

import pytest

from worker.core.api import health


class Door:
    """Fails the test when something is asked of it that the answer does not need."""

    def __init__(self, *, refusal: str | None = None, ledger: bool | None = None, **behind: str) -> None:
        self.models = ["mock"]
        self.refusal = refusal
        self._ledger = ledger
        self._behind = behind

    async def behind(self) -> dict[str, str]:
        assert self._behind
        return self._behind

    async def ledger_usable(self) -> bool:
        assert self._ledger is not None
        return self._ledger


async def asked(name: str, **known: Any) -> tuple[int, dict[str, Any]]:
    found = await health.answer(name, Door(**known))
    assert (("retry-after", "5") in found.headers) is (found.status == 503)
    return found.status, found.body


@pytest.mark.parametrize("state", ["running", "sleeping"])
async def test_a_container_that_runs_or_can_be_woken_is_healthy(state: str):
    fields = {"status": "healthy", "container": state}
    assert await asked("health", container=state) == (200, {**fields, "models": ["mock"]})
    assert await asked("readiness", container=state, ledger=True) == (200, fields)


async def test_a_container_that_cannot_be_reached_is_not():
    fields = {"status": "unhealthy", "container": "unavailable"}
    assert await asked("health", container="unavailable") == (503, {**fields, "models": ["mock"]})
    assert await asked("readiness", container="unavailable", ledger=True) == (503, fields)


async def test_without_a_container_the_engine_is_told_and_readiness_does_not_go_by_it():
    assert await asked("health", engine="stopped") == (
        200,
        {"status": "healthy", "models": ["mock"], "engine": "stopped"},
    )
    assert await asked("readiness", engine="stopped", ledger=True) == (200, {"status": "healthy"})


async def test_not_ready_while_everything_is_refused():
    assert await asked("readiness", refusal="no key") == (503, {"status": "unhealthy", "reason": "no key"})


async def test_not_ready_without_a_ledger():
    assert await asked("readiness", ledger=False) == (503, {"status": "unhealthy", "reason": health.NO_LEDGER})


@pytest.mark.parametrize("name", ["root", "liveliness", "liveness"])
async def test_root_and_liveliness_ask_nobody(name: str):
    assert (await asked(name))[0] == 200


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
