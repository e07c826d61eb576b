"""Whether the gateway is healthy, and which of its models are on.

Responses for `/`, `/health`, `/health/liveliness` and `/health/readiness`. None of them needs a key.

A `Door` provides the state: of its containers at the edge, of its engine in the proxy.

A *need* is the name of an environment variable, or several alternatives joined by `|`. A deployment is on when all of
its needs are met. A model (a group of deployments) is on when at least one of its deployments is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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


Needs = Iterable[str]


def missing(needs: Needs, is_set: Callable[[str], bool]) -> list[str]:
    """Returns the unmet needs, in order."""
    return [need for need in needs if not any(is_set(name) for name in need.split("|"))]


def models_on(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[str]:
    """Returns the names of the models that are on, in order."""
    return [name for name, deployments in models.items() if any(not missing(needs, is_set) for needs in deployments)]


def listed(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Returns the `data` of `/model/info` when no running container can report deployment health."""
    return [
        {
            "model_name": name,
            "litellm_params": {},
            "model_info": {},
            "on": not (off := missing(needs, is_set)),
            "set": [need.replace("|", " or ") for need in off],
            "health": None,
        }
        for name, deployments in models.items()
        for needs in deployments
    ]
