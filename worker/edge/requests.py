"""What the edge decides about a request without JavaScript: which of its headers go on, whether its body can be parsed
here, and which instance gets it.

Credentials and cookies stay at the edge, and clients cannot set the edge's own headers.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import accumulate

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


# Pyodide's JSON parser is recursive, and a stack overflow ends the whole isolate. 2,000 levels work, 3,000 do not.
MOST_LEVELS = 1000
_OPENS, _CLOSES = b"[{", b"]}"
_STEP = {**dict.fromkeys(_OPENS, 1), **dict.fromkeys(_CLOSES, -1)}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEP))


def can_be_parsed(content: bytes) -> bool:
    """Whether parsing the content as JSON is safe for this isolate."""
    if sum(map(content.count, _OPENS)) <= MOST_LEVELS:  # the depth cannot exceed the number of opening brackets
        return True
    # With NUL it may be UTF-16 or UTF-32, which Python's parser accepts, and in which any byte may look like a quote.
    return b"\0" not in content and depth(content) <= MOST_LEVELS


def depth(content: bytes) -> int:
    """Returns the depth that a parser reaches before the end or the first invalid byte, or more. Expects UTF-8."""
    outside = content.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0))


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
