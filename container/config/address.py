"""Validates provider addresses. Messages never repeat an address, because it may contain a password."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

# Headers sent with every call.
JSON = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "litellm-router"}


class Address(NamedTuple):
    """The base URL of an OpenAI-compatible server and the headers that authenticate with it."""

    base: str
    headers: Mapping[str, str]


def wrong(base: str) -> str | None:
    """What is wrong with the address, phrased to follow its name in a message, or None."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        usable = False
    if not usable:
        return "is not an http(s) address."
    return "must not contain a query or fragment." if "?" in base or "#" in base else None


def origin(url: str) -> str:
    """The origin of a URL, such as `https://host:port`."""
    return "/".join(url.split("/", 3)[:3]).lower()
