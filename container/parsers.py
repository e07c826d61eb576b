"""How the values of environment variables are read. Each raises ValueError, which says what to write instead.

Those that the Worker needs, too, are in `worker.api.settings`.
"""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network

from worker.api.cors import is_origin, parse_origins
from worker.api.settings import address

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


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


def redis_address(text: str) -> str:
    what = "redis://[user:password@]host[:port][/database], rediss://… or unix:///path"
    return text if text.startswith("unix:///") else address(text, ("redis", "rediss"), what)


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
