"""Health endpoints of both servers: the edge reports its container, the proxy its engine."""

from typing import Any

import pytest

from worker.core.api import health


class Door:
    """Fails the test if a check runs that the response does not need."""

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
async def test_a_running_or_sleeping_container_is_healthy(state: str):
    fields = {"status": "healthy", "container": state}
    assert await asked("health", container=state) == (200, {**fields, "models": ["mock"]})
    assert await asked("readiness", container=state, ledger=True) == (200, fields)


async def test_an_unreachable_container_is_unhealthy():
    fields = {"status": "unhealthy", "container": "unavailable"}
    assert await asked("health", container="unavailable") == (503, {**fields, "models": ["mock"]})
    assert await asked("readiness", container="unavailable", ledger=True) == (503, fields)


async def test_without_a_container_the_engine_is_shown_and_does_not_affect_readiness():
    assert await asked("health", engine="stopped") == (
        200,
        {"status": "healthy", "models": ["mock"], "engine": "stopped"},
    )
    assert await asked("readiness", engine="stopped", ledger=True) == (200, {"status": "healthy"})


async def test_not_ready_while_every_request_is_refused():
    assert await asked("readiness", refusal="no key") == (503, {"status": "unhealthy", "reason": "no key"})


async def test_not_ready_without_a_ledger():
    assert await asked("readiness", ledger=False) == (503, {"status": "unhealthy", "reason": health.NO_LEDGER})


@pytest.mark.parametrize("name", ["root", "liveliness", "liveness"])
async def test_root_and_liveliness_check_nothing(name: str):
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
def test_several_instances_are_as_healthy_as_the_best(states, expected):
    assert health.overall(states) == expected
