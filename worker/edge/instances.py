"""Which container instance serves a request, and which ones are tried after it."""

import hashlib

FIRST = "proxy-0"
"""The instance that is the ledger's object's own."""


def instance_names(count: int) -> list[str]:
    """The names of the Durable Objects, one container each."""
    return [f"proxy-{number}" for number in range(count)]


def stand_in(count: int) -> str | None:
    """Who serves while the only instance is being replaced; None where there are others."""
    return instance_names(2)[1] if count == 1 else None


def candidates(count: int, key: str | None) -> list[str]:
    """Every instance, the one of this key first, so that a key's requests stay together while all is well."""
    names = instance_names(count)
    if count == 1:
        return names
    digest = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
    first = int.from_bytes(digest[:8], "big") % count
    return names[first:] + names[:first]
