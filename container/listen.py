"""The sockets on which the proxy listens."""

import errno
import socket

from .config.problems import CannotServe

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the address: `::` is every address, IPv4 too, `localhost` both loopbacks. A machine without
    IPv6 has less of them. Raises CannotServe."""
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(_addresses(host, port)):
            try:
                one = socket.socket(family, kind, protocol)
            except OSError as error:
                refusal = error
                continue
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            try:
                one.bind(address)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                refusal = error
                sockets.pop().close()
                continue
            one.setblocking(False)
            if host == "::":
                break
        if not sockets:
            raise refusal or OSError("there is no such address")
    except OSError as error:
        for one in sockets:
            one.close()
        raise cannot_listen(host, port, error) from None
    return sockets


def cannot_listen(host: str, port: int, error: OSError) -> CannotServe:
    return CannotServe(f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose another with --port.")


def _addresses(host: str, port: int) -> list:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if host == "::":  # on a machine without IPv6 what is left of it
        found += socket.getaddrinfo("0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    return found
