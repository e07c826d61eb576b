"""A provider's address: whose it is, and whether it can be used. Messages do not repeat it: it may hold a password."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

# The headers of every call.
JSON = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "litellm-router"}


class Address(NamedTuple):
    """Where the proxy finds a server that speaks OpenAI's wire format, and the headers that open it."""

    base: str
    headers: Mapping[str, str]


def wrong(base: str) -> str | None:
    """What is wrong with it, to follow its name."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        return "is not an http(s) address."
    return "holds a query, behind which nothing more can be written." if "?" in base or "#" in base else None


def origin(url: str) -> str:
    """`https://host:port` of an address."""
    return "/".join(url.split("/", 3)[:3]).lower()
