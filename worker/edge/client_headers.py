"""Selects the client headers that are forwarded to the container.

Credentials and cookies stay at the edge, and clients cannot set the edge's own headers.
"""

from collections.abc import Iterable, Mapping

CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
# The edge handles CORS. Without an origin the container adds no CORS headers.
CROSS_ORIGIN = frozenset({"origin", "access-control-request-method", "access-control-request-headers"})
# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1; `expect` because nothing behind the edge sends a 100 response.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
DROPPED = CREDENTIALS | CROSS_ORIGIN | HOP_BY_HOP
OURS = ("x-internal-", "x-litellm-")


def is_dropped(name: str) -> bool:
    """Whether the client header `name` (lower case) is not forwarded."""
    return name in DROPPED or name.startswith(OURS)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers that are forwarded. `headers`: by lower-case name."""
    return {name: value for name, value in headers.items() if name not in DROPPED and not name.startswith(OURS)}


def dropped(names: Iterable[str]) -> list[str]:
    """Returns those of a request's header names that are not forwarded."""
    return [name for name in names if is_dropped(name.lower())]
