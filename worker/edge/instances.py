"""Selects the container instance for a request, and those to try after it."""

import hashlib

FIRST = "proxy-0"
"""The instance in the ledger object."""


def instance_names(count: int) -> list[str]:
    """Returns the names of the Durable Objects. Each has one container."""
    return [f"proxy-{number}" for number in range(count)]


def stand_in(count: int) -> str | None:
    """Returns the instance that serves while the only one is being replaced; None if there are others."""
    return instance_names(2)[1] if count == 1 else None


def candidates(count: int, key: str | None) -> list[str]:
    """Returns all instances, starting with the key's own, so that a key's requests usually stay on one instance."""
    names = instance_names(count)
    if count == 1:
        return names
    digest = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
    first = int.from_bytes(digest[:8], "big") % count
    return names[first:] + names[:first]
