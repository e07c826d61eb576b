"""The client's address: the peer, or the client named by a trusted proxy."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(peer: str | None, header: Callable[[str], str | None], trusted: Sequence[Network]) -> str:
    """Return the nearest `X-Forwarded-For` address that is not a trusted proxy; '' for a socket without addresses.

    `header` must return all lines of a header, joined with commas, because a proxy may append its own line to the
    client's. The header is ignored unless the peer is a trusted proxy.
    """
    address = peer or ""
    if not trusted or not _among(address, trusted):
        return address
    for named in reversed((header("x-forwarded-for") or "").split(",")):
        named = _without_port(named.strip())
        if not named:
            continue
        address = named
        if not _among(named, trusted):
            break
    return address


def _without_port(named: str) -> str:
    """Strip the port that some proxies add (`192.0.2.1:5000`). It changes with every connection."""
    if named.startswith("["):
        return named[1:].partition("]")[0]
    host, _, port = named.partition(":")
    return host if port.isdigit() else named


def _among(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
