"""Responses for `/`, `/health`, `/health/liveliness` and `/health/readiness`. None of them needs a key.

A `Door` provides the state: of its containers at the edge, of its engine in the proxy.
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
        """The model names that clients may request."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why no requests are served, such as a missing master key; None if they are."""
        ...

    async def behind(self) -> dict[str, str]:
        """Returns {"container": one of the three states above}, or {"engine": its state}."""
        ...

    async def ledger_usable(self) -> bool: ...


async def answer(name: str, door: Door) -> Answer:
    """Responds to the endpoint `name`: "root", "liveliness", "liveness", "readiness" or "health".

    Liveliness only says that the process responds. Readiness tells load balancers whether the next request can be
    served; a restart would not fix the causes of a 503. A sleeping container is healthy, because a request wakes it.
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
    """Combines the states of several instances into the best one: requests go to any instance that can serve them."""
    found = set(states)
    return next((state for state in (RUNNING, SLEEPING) if state in found), UNAVAILABLE)
