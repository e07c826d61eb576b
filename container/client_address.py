"""Where a request comes from: the peer, or behind a proxy that the operator trusts the client that it names."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(peer: str | None, header: Callable[[str], str | None], trusted: Sequence[Network]) -> str:
    """The nearest address of `X-Forwarded-For` that is not a trusted proxy's. What anyone else says of addresses is
    not listened to. '' where there is no peer (a socket without addresses)."""
    address = peer or ""
    if not trusted or not _among(address, trusted):
        return address
    for named in reversed((header("x-forwarded-for") or "").split(",")):
        named = named.strip()
        if not named:
            continue
        address = named
        if not _among(named, trusted):
            break
    return address


def _among(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
