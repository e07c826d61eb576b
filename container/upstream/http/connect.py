"""New connections: names looked up and remembered, both families of addresses tried, certificates verified."""

import asyncio
import socket
import ssl
from collections.abc import Sequence

from aiohappyeyeballs import AddrInfoType, start_connection

from .errors import CannotConnect, ConnectTimeout
from .request import Place

DNS_SECONDS = 60.0
MAX_NAMES = 1000
# https://www.rfc-editor.org/rfc/rfc8305#section-8
NEXT_ADDRESS_SECONDS = 0.25


class Connector:
    """`timeout`: seconds from the look-up of the name to the end of the TLS handshake. Proxies that the environment
    names are not used."""

    def __init__(self, timeout: float, context: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        self._context = context
        self._names = Names()

    async def connect(self, place: Place, protocol: asyncio.Protocol) -> None:
        """Raises CannotConnect."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(place, protocol)
        except TimeoutError:
            raise ConnectTimeout(f"not within {self._timeout:g} s") from None
        except (OSError, ValueError) as error:
            self._names.forget(place)
            raise CannotConnect(type(error).__name__) from None

    async def _connect(self, place: Place, protocol: asyncio.Protocol) -> None:
        addresses = await self._names.find(place)
        # uvloop's own create_connection tries one address after another.
        one = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1)
        context = self._tls() if place.tls else None
        name = place.host.rstrip(".").partition("%")[0] if place.tls else None
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: protocol, sock=one, ssl=context, server_hostname=name)
        except BaseException:
            one.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def close(self) -> None:
        self._names.close()


class Names:
    """Addresses by name, each kept for DNS_SECONDS or until none of them answers. Simultaneous look-ups of one name
    are one."""

    def __init__(self) -> None:
        self._known: dict[Place, tuple[float, Sequence[AddrInfoType]]] = {}
        self._looking: dict[Place, asyncio.Task[Sequence[AddrInfoType]]] = {}

    async def find(self, place: Place) -> Sequence[AddrInfoType]:
        """Raises OSError, and UnicodeError for what cannot be a name."""
        until, addresses = self._known.get(place, (0.0, ()))
        if until > asyncio.get_running_loop().time():
            return addresses
        task = self._looking.get(place)
        if task is None:
            task = self._looking[place] = asyncio.create_task(self._look_up(place))
            task.add_done_callback(lambda done: self._looked_up(place, done))
        # Whoever gives up must not end it for the others.
        return await asyncio.shield(task)

    def forget(self, place: Place) -> None:
        self._known.pop(place, None)

    def close(self) -> None:
        for task in self._looking.values():
            task.cancel()

    def _looked_up(self, place: Place, done: asyncio.Task[Sequence[AddrInfoType]]) -> None:
        self._looking.pop(place, None)
        if not done.cancelled():
            done.exception()  # everybody who wanted to know may have left

    async def _look_up(self, place: Place) -> Sequence[AddrInfoType]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[place] = loop.time() + DNS_SECONDS, found
        return found
