"""The answers of `/`, `/health`, `/health/liveliness` and `/health/readiness`, for whoever has no key.

They go by what a `Door` knows of itself: the edge of its containers, the proxy of its engine.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

RUNNING, SLEEPING, UNAVAILABLE = "running", "sleeping", "unavailable"

NO_LEDGER = "The ledger cannot be used now, so nothing can be paid for."
RETRY_SOON = (("retry-after", "5"),)

_HEALTHY = {"status": "healthy"}
_ROOT = {**_HEALTHY, "service": "litellm-router", "health": "/health", "api": "/v1"}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


class Door(Protocol):
    @property
    def models(self) -> Sequence[str]:
        """The names that clients may ask for."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why nothing is served, such as a missing master key; None when all is well."""
        ...

    async def behind(self) -> dict[str, str]:
        """What is behind the door: {"container": one of the three states above}, or {"engine": its state}."""
        ...

    async def ledger_usable(self) -> bool: ...


async def answer(name: str, door: Door) -> Answer:
    """`name`: the endpoint's: "root", "liveliness", "liveness", "readiness" or "health".

    Liveliness says only that something answers. Readiness says whether the next request can be served, for load
    balancers; a restart would not mend what makes it 503. A sleeping container is healthy, as it wakes when asked.
    """
    if name == "root":
        return Answer(200, _ROOT)
    if name in ("liveliness", "liveness"):
        return Answer(200, _HEALTHY)
    if name == "readiness":
        reason = door.refusal
        if reason is None and not await door.ledger_usable():
            reason = NO_LEDGER
        if reason is not None:
            return Answer(503, {"status": "unhealthy", "reason": reason}, RETRY_SOON)
    behind = await door.behind()
    up = behind.get("container") != UNAVAILABLE
    said: dict[str, Any] = {"status": "healthy" if up else "unhealthy"}
    if name == "health":
        said |= {"models": list(door.models), **behind}
    elif "container" in behind:
        said |= behind
    return Answer(200 if up else 503, said, () if up else RETRY_SOON)


def overall(states: Iterable[str]) -> str:
    """One word for several instances: the best of their states, as requests go to the next one that can serve."""
    found = set(states)
    return next((state for state in (RUNNING, SLEEPING) if state in found), UNAVAILABLE)
