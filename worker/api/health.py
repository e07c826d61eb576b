"""The bodies of `/`, `/health`, `/health/liveliness` and `/health/readiness`, for whoever has no key."""

from collections.abc import Iterable

RUNNING, SLEEPING, UNAVAILABLE = "running", "sleeping", "unavailable"

NO_LEDGER = "The ledger cannot be used now, so nothing can be paid for."
RETRY_SOON = (("retry-after", "5"),)

Answer = tuple[int, dict]


def root() -> Answer:
    return 200, {"status": "healthy", "service": "litellm-router", "health": "/health", "api": "/v1"}


def liveliness() -> Answer:
    """Alive: something answers. It says nothing of what lies behind."""
    return 200, {"status": "healthy"}


def health(container: str, models: Iterable[str]) -> Answer:
    """`container`: one of the three states above; a sleeping container is healthy, for it wakes when asked."""
    status, word = _verdict(container)
    return status, {"status": word, "models": list(models), "container": container}


def readiness(container: str, refusal: str | None = None) -> Answer:
    """Whether the next request can be served. `refusal`: why nothing is, as when there is no master key."""
    if refusal is not None:
        return 503, {"status": "unhealthy", "reason": refusal}
    status, word = _verdict(container)
    return status, {"status": word, "container": container}


def overall(states: Iterable[str]) -> str:
    """One word for several instances: the best of their states, as requests go to the next one that can serve."""
    found = set(states)
    return next((state for state in (RUNNING, SLEEPING) if state in found), UNAVAILABLE)


def _verdict(container: str) -> tuple[int, str]:
    return (503, "unhealthy") if container == UNAVAILABLE else (200, "healthy")
