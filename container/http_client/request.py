"""Builds the head of a request. Also defines `Place` and the exceptions of the client. No I/O."""

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


class ProxyFailed(CannotConnect):
    """The HTTP proxy in between refused or failed. The message says how, without its address."""


class BrokenOff(HttpError):
    pass


class BadBody(HttpError):
    pass


class Silent(TimeoutError):
    pass


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")
# The client itself controls message framing and connection reuse.
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "expect", "upgrade", "te"})
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


class Place(NamedTuple):
    """The peer of a connection. `host` is an ASCII name, or an address without brackets."""

    tls: bool
    host: str
    port: int


# A deployment always uses the same URL and headers. The bound is for wildcards, whose URL may contain the model name.
@functools.lru_cache(maxsize=256)
def prepared(url: str, headers: tuple[tuple[str, str], ...], method: str = "POST") -> tuple[Place, bytes]:
    """Returns the place and the head of a request, without the Content-Length header and the final blank line.

    `headers` may override Host and Accept. Raises CannotConnect if the URL is not http(s) or a header is invalid.
    """
    try:
        parts = urlsplit(url)
        place = Place(parts.scheme == "https", _host(parts), parts.port or (443 if parts.scheme == "https" else 80))
    except ValueError:
        raise CannotConnect("not an address") from None
    if parts.scheme not in ("http", "https"):
        raise CannotConnect("neither http nor https")
    lines = {"host": ("Host", host_header(place)), "accept": ("Accept", "*/*")}
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
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value.strip()}" for name, value in lines.values())]
    return place, ("\r\n".join(head) + "\r\n").encode()


def _host(parts: SplitResult) -> str:
    """The ASCII host name. Raises ValueError."""
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(host):
        raise ValueError
    return host


def host_header(place: Place) -> str:
    return _bracketed(place) if place.port == (443 if place.tls else 80) else authority(place)


def authority(place: Place) -> str:
    """Returns host and port, as CONNECT takes them."""
    return f"{_bracketed(place)}:{place.port}"


def _bracketed(place: Place) -> str:
    return f"[{place.host.partition('%')[0]}]" if ":" in place.host else place.host
