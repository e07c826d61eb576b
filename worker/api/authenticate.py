"""Who is asking: the credentials of a request, and whether they are the master key."""

import hmac
from collections.abc import Callable

from .errors import ApiError, service_unavailable, unauthenticated

# The master key of every tutorial. It opens nothing but a developer's own machine.
WELL_KNOWN_KEY = "sk-1234"

# What every virtual key begins with.
VIRTUAL_KEY_PREFIX = "sk-"

NO_MASTER_KEY = (
    "This gateway has no LITELLM_MASTER_KEY, so it serves nothing but /health. Set the secret and try again."
)
WELL_KNOWN_MASTER_KEY = (
    "LITELLM_MASTER_KEY is sk-1234, which everybody knows, so this gateway serves nothing but /health. Set another one."
)


def presented_key(header: Callable[[str], str | None]) -> str | None:
    """The key a client sent: `Authorization: Bearer`, `x-api-key` or `api-key`, in this order."""
    authorization = header("authorization")
    if authorization:
        scheme, _, value = authorization.strip().partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    return header("x-api-key") or header("api-key") or None


def same_secret(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def virtual_key(given: str | None, master_key: str) -> str | None:
    """What was presented, if it can be a virtual key: whether it is one the ledger knows."""
    if given is None or not given.startswith(VIRTUAL_KEY_PREFIX) or same_secret(given, master_key):
        return None
    return given


def refusal_to_serve(master_key: str | None, *, local: bool) -> ApiError | None:
    """Why nothing is served with this master key; None when all is well. `local`: a developer's own machine."""
    if not master_key:
        return service_unavailable(NO_MASTER_KEY, retry_after=60)
    if same_secret(master_key, WELL_KNOWN_KEY) and not local:
        return service_unavailable(WELL_KNOWN_MASTER_KEY, retry_after=60)
    return None


def require_master_key(given: str | None, master_key: str) -> None:
    """Raises ApiError 401 unless `given` is the master key."""
    if given is None:
        raise unauthenticated("No API key given. Send it as 'Authorization: Bearer <key>', with the word Bearer.")
    if not same_secret(given, master_key):
        raise unauthenticated("This API key is not valid here.")
