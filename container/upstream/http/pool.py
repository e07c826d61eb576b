"""Connections that wait for another request: the latest first, none longer than a few seconds."""

import asyncio

from .connection import Connection
from .request import Place

# Providers close theirs after some time, without a word: the shorter ours, the seldomer both happen at once.
IDLE_SECONDS = 15.0


class Pool:
    """One timer looks after all of them, and only while there are any."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._idle: dict[Place, list[Connection]] = {}  # each list from the longest idle to the latest
        self._timer: asyncio.TimerHandle | None = None

    def take(self, place: Place) -> Connection | None:
        """A connection that is alive as far as can be known on this side."""
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if connection.alive():
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        self._idle.setdefault(connection.place, []).append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        oldest = now
        for place, idle in list(self._idle.items()):
            fresh = [c for c in idle if c.idle_since + self._idle_seconds > now and c.alive()]
            for connection in set(idle).difference(fresh):
                connection.abort()
            if fresh:
                self._idle[place] = fresh
                oldest = min(oldest, fresh[0].idle_since)
            else:
                del self._idle[place]
        wait = oldest + self._idle_seconds - now
        self._timer = loop.call_later(max(0.01, wait), self._sweep) if self._idle else None
