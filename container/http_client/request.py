"""A request's head, the place it goes to, and what can go wrong on the way. Pure."""

import base64
import functools
import re
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit


class HttpError(Exception):
    pass


class CannotConnect(HttpError):
    pass


class ConnectTimeout(CannotConnect):
    pass


class BrokenOff(HttpError):
    pass


class BadBody(HttpError):
    pass


class Silent(TimeoutError):
    pass


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")
# How a message is framed, and whether its connection lasts, is for the client to say.
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "expect", "upgrade", "te"})
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


class Place(NamedTuple):
    """What a connection is made to. `host`: a name in ASCII or an address, without brackets."""

    tls: bool
    host: str
    port: int


# A deployment's address and headers are the same for every request; the bound is for wildcards, whose model names may
# be part of the address.
@functools.lru_cache(maxsize=256)
def prepared(url: str, headers: tuple[tuple[str, str], ...]) -> tuple[Place, bytes]:
    """Where a POST goes, and its head but for the length of the body and the blank line.

    `headers` may set Host and Accept. Raises CannotConnect for what is no http(s) address or no header.
    """
    try:
        parts = urlsplit(url)
        place = Place(parts.scheme == "https", _host(parts), parts.port or (443 if parts.scheme == "https" else 80))
    except ValueError:
        raise CannotConnect("not an address") from None
    if parts.scheme not in ("http", "https"):
        raise CannotConnect("neither http nor https")
    lines = {"host": ("Host", _host_header(place)), "accept": ("Accept", "*/*")}
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise CannotConnect("a header that cannot be sent")
        if name.lower() not in _OURS:
            lines[name.lower()] = name, value
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines["authorization"] = "Authorization", "Basic " + base64.b64encode(pair.encode()).decode()
    target = quote(parts.path, safe=_PATH_SAFE) or "/"
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH_SAFE + "?")
    head = [f"POST {target} HTTP/1.1", *(f"{name}: {value.strip()}" for name, value in lines.values())]
    return place, ("\r\n".join(head) + "\r\n").encode()


def _host(parts: SplitResult) -> str:
    """Raises ValueError."""
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(host):
        raise ValueError
    return host


def _host_header(place: Place) -> str:
    host = f"[{place.host.partition('%')[0]}]" if ":" in place.host else place.host
    return host if place.port == (443 if place.tls else 80) else f"{host}:{place.port}"
