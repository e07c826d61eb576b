"""Headers of every response: the request's id, and cross-origin access for browsers (CORS).

A client may name its own request. The gateway still generates an id, because two clients may choose the same name. Logs
and traces have the client's name, and the spend log can be searched by either.

Browsers may call from an allow-list of origins. Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def acceptable(given: str | None) -> str | None:
    """Returns the client's `x-request-id` if it is safe to use."""
    return given if given and _ACCEPTABLE.fullmatch(given) else None


def new_request_id() -> str:
    """Returns 128 random bits in hexadecimal."""
    return os.urandom(16).hex()


EXPOSED = (
    "x-request-id, x-litellm-call-id, x-litellm-model-id, x-litellm-model-group, x-litellm-response-cost, "
    "x-litellm-attempted-retries, x-litellm-attempted-fallbacks, x-litellm-overhead-duration-ms, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, retry-after"
)
MAX_AGE_SECONDS = "86400"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\\?#@\s]+", re.IGNORECASE)


def parse_origins(text: str | None) -> tuple[str, ...]:
    """Parses `"https://a.example, https://b.example"` or `"*"` into a tuple of origins."""
    return tuple(part.strip().rstrip("/") for part in (text or "").split(",") if part.strip())


def is_origin(text: str) -> bool:
    """Whether an allow-list entry can match a browser's origin: a scheme, a host and an optional port, or `*`."""
    return text == "*" or _ORIGIN.fullmatch(text) is not None


class Decision(NamedTuple):
    """`headers` apply to any response. `preflight`: respond with 204 and do nothing else."""

    headers: Sequence[tuple[str, str]]
    preflight: bool = False


_NOTHING = Decision(())


def cors(method: str, header: Callable[[str], str | None], allowed: tuple[str, ...]) -> Decision:
    """Decides the CORS headers of a request. `header` looks up a request header by its lower-case name."""
    origin = header("origin")
    if origin is None:
        return Decision(response_headers(None, allowed)) if allowed else _NOTHING
    if is_preflight(method, origin, header("access-control-request-method")):
        wanted = header("access-control-request-headers")
        return Decision(preflight_headers(origin, wanted, allowed), preflight=True)
    return Decision(response_headers(origin, allowed))


def response_headers(origin: str | None, allowed: Iterable[str]) -> list[tuple[str, str]]:
    """Returns the CORS headers for `origin`: none if no origin is allowed, only `Vary` if this one is not."""
    allowed = tuple(allowed)
    if not allowed:
        return []
    if "*" in allowed:
        return [("access-control-allow-origin", "*"), ("access-control-expose-headers", EXPOSED)]
    if origin is None or origin not in allowed:
        return [("vary", "Origin")]
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", EXPOSED),
        ("vary", "Origin"),
    ]


def is_preflight(method: str, origin: str | None, requested_method: str | None) -> bool:
    return method == "OPTIONS" and origin is not None and requested_method is not None


def preflight_headers(origin: str, requested_headers: str | None, allowed: Iterable[str]) -> list[tuple[str, str]]:
    """Returns the headers of the 204 response. An unknown origin gets no allow headers, so the browser refuses."""
    headers = response_headers(origin, allowed)
    if not any(name == "access-control-allow-origin" for name, _ in headers):
        return headers
    return [
        *headers,
        ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
        ("access-control-allow-headers", requested_headers or "authorization, content-type"),
        ("access-control-max-age", MAX_AGE_SECONDS),
    ]
