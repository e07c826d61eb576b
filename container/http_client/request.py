"""Where a request goes, and its head: the server, or the HTTP proxy in between. Also the exceptions of the client. No
I/O.
"""

import base64
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
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


# HTTP proxies between this machine and the providers: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. The rules are those
# of curl and of Python's requests. The lower-case names take precedence. An entry of `NO_PROXY` is a name with its
# subdomains, an address, a network, any of these with `:port`, or `*` for everything. Loopback is never proxied. https
# goes through a tunnel (CONNECT), http is sent to the proxy with the full address. Sources:
# https://curl.se/docs/manpage.html#ENVIRONMENT, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6

_DEFAULT_PORT = 80
_FORMAT = "write http://[user:password@]host[:port]"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization`: the value of Proxy-Authorization, None without credentials."""

    place: Place
    authorization: str | None = field(default=None, repr=False)


class Exempt(NamedTuple):
    """An entry of NO_PROXY: a name, `*`, or a network. `port`: None for all."""

    what: str | IPv4Network | IPv6Network
    port: int | None = None

    def matches(self, place: Place, address: IPv4Address | IPv6Address | None) -> bool:
        if self.port is not None and self.port != place.port:
            return False
        if not isinstance(self.what, str):
            return address is not None and address.version == self.what.version and address in self.what
        host = place.host.lower().rstrip(".")
        return self.what == "*" or host == self.what or host.endswith(f".{self.what}")


@dataclass(frozen=True, slots=True)
class Proxies:
    http: Proxy | None
    https: Proxy | None
    exempt: tuple[Exempt, ...] = ()

    def of(self, place: Place) -> Proxy | None:
        """Returns the proxy for a connection to this place, None for a direct one."""
        proxy = self.https if place.tls else self.http
        if proxy is None:
            return None
        address = _address(place.host)
        if _is_loopback(place.host, address) or any(each.matches(place, address) for each in self.exempt):
            return None
        return proxy

    def head(self, place: Place, head: bytes) -> bytes:
        """Returns the head of a request, changed if it goes to a proxy without a tunnel. `head`: as from `prepared`."""
        proxy = None if place.tls else self.of(place)
        return head if proxy is None else _to_proxy(place, head, proxy.authorization)


@functools.lru_cache(maxsize=256)
def _to_proxy(place: Place, head: bytes, authorization: str | None) -> bytes:
    method, _, rest = head.partition(b" ")
    line = b"" if authorization is None else f"Proxy-Authorization: {authorization}\r\n".encode()
    return b"%b http://%b%b%b" % (method, host_header(place).encode(), rest, line)


def proxies(http: Proxy | None, https: Proxy | None, exempt: Sequence[Exempt]) -> Proxies | None:
    """Returns None if no proxy is set."""
    return Proxies(http, https, tuple(exempt)) if http or https else None


def proxy(text: str) -> Proxy:
    """Parses `http://user:password@host:port`; the scheme may be missing. Raises ValueError."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError(_FORMAT) from None
    if parts.scheme != "http" or not host:
        raise ValueError(_FORMAT)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(Place(False, host, port), authorization)


def exemptions(text: str) -> tuple[Exempt, ...]:
    """Parses `example.com, .example.org, 10.0.0.0/8, [::1]:8080, *`. An entry that is nothing of these is a name."""
    return tuple(_exempt(entry) for entry in text.replace(",", " ").split())


def _exempt(entry: str) -> Exempt:
    network = _network(entry)
    if network is not None:
        return Exempt(network)
    what, colon, digits = entry.rpartition(":")
    port = int(digits) if colon and digits.isascii() and digits.isdigit() else None
    if port is None:
        what = entry
    network = _network(what)
    return Exempt(network if network is not None else what.lower().removeprefix("*.").strip("."), port)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _is_loopback(host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")
