"""How the values of environment variables are read. Each raises ValueError, which says what to write instead."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from worker.api.cors import is_origin, parse_origins

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def number(what: str, lowest: float, highest: float, *, above: bool = True) -> Callable[[str], float]:
    """`above`: `lowest` itself is not allowed."""

    def parse(text: str) -> float:
        value = float(text) if _DECIMAL.fullmatch(text) else float("nan")
        if not lowest <= value <= highest or (above and value == lowest):
            raise ValueError(f"write {what}")
        return value

    return parse


def whole(what: str, lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else lowest - 1
        if not lowest <= value <= highest:
            raise ValueError(f"write {what}")
        return value

    return parse


def flag(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("write true or false")
    return text.lower() in _TRUE


def level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ValueError("write DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"write {', '.join(words[:-1])} or {words[-1]}" if words[1:] else f"write {words[0]}")
        return text

    return parse


def web_address(text: str) -> str:
    return _url(text, ("http", "https"), "an http(s) address")


def redis_address(text: str) -> str:
    what = "redis://[user:password@]host[:port][/database], rediss://… or unix:///path"
    return text if text.startswith("unix:///") else _url(text, ("redis", "rediss"), what)


def postgres_address(text: str) -> str:
    """As PostgreSQL's own library takes it: also several hosts, or a socket's directory in the query."""
    if not text.startswith(("postgres://", "postgresql://")):
        raise ValueError("write postgresql://user:password@host[:port]/database")
    return text


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Of `10.0.0.0/8, fd00::/8, 192.0.2.1`."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("write addresses or networks such as 10.0.0.0/8, several with commas between") from None


def origins(text: str) -> tuple[str, ...]:
    """Of `https://a.example, https://b.example`, or `*`."""
    found = parse_origins(text)
    strange = next((origin for origin in found if not is_origin(origin)), None)
    if strange is not None or not found:
        raise ValueError(f"'{strange}' is no origin: write https://host or * , several with commas between")
    return found


def _url(text: str, schemes: tuple[str, ...], what: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"write {what}")
    return text
