"""Which of a client's headers go on to the container.

The client's credentials and cookies stop at the edge, and no client can pose as the edge.
"""

from collections.abc import Iterable

CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})
# The edge answers for CORS. Without an origin the container adds nothing.
CROSS_ORIGIN = frozenset({"origin", "access-control-request-method", "access-control-request-headers"})
# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1; `expect` because nobody behind the edge answers 100 to it.
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
    """Whether the client's header `name` (lower case) stays outside."""
    return name in DROPPED or name.startswith(OURS)


def dropped(names: Iterable[str]) -> list[str]:
    """Those of a request's header names that do not enter the container."""
    return [name for name in names if is_dropped(name.lower())]
