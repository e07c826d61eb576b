"""Clients that send one request after another until the time is over."""

import asyncio
import time
from collections.abc import Callable, Iterator

import aiohttp

from .calls import PATIENCE, Call, ask
from .judge import Judge

# Seconds a client waits after it could not reach the system or was told to retry.
_PAUSE = 0.2


class Load:
    """`where()` returns the system's current address. `keys` is {name: current secret} and changes as keys rotate."""

    def __init__(
        self,
        where: Callable[[], str],
        keys: dict[str, str],
        calls: Iterator[Call],
        judge: Judge,
        running: dict[int, Call],
    ) -> None:
        self._where = where
        self._keys = keys
        self._calls = calls
        self._judge = judge
        self._running = running
        self.asked = 0
        self.answered: set[str] = set()  # ids of the whole responses
        self.over = False

    async def run(self, clients: int, think: float) -> None:
        """Runs until `over`, then waits for running calls. `think` is the number of seconds between two calls of a
        client."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=PATIENCE)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(session, think))

    async def _client(self, session: aiohttp.ClientSession, think: float) -> None:
        while not self.over:
            call = next(self._calls)
            self._running[call.number] = call
            began = time.monotonic()
            try:
                outcome = await ask(session, self._where(), self._keys[call.key], call)
            finally:
                del self._running[call.number]
            self.asked += 1
            if outcome.what == "whole":
                self.answered.add(outcome.id)
            self._judge.judge(call, outcome, began)
            await asyncio.sleep(think if outcome.what in ("whole", "left") else think + _PAUSE)
