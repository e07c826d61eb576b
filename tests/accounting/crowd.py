"""Many concurrent clients, spread over the replicas of a gateway."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import aiohttp

from tests.money import chat

# Pseudo-statuses of requests without a response: the client disconnected, or the gateway did.
CLIENT_LEFT, NO_ANSWER = 499, 0
PATH = "/v1/chat/completions"


class Crowd:
    """`async with Crowd(urls, key, count) as crowd:` starts the clients; `finished` counts the statuses so far.

    - `streams`: how many requests are streams that are read to the end
    - `leaving`: how many are streams whose client disconnects after the first event (counted as 499)
    - `limit`: max_tokens
    - `at_once`: concurrent requests, 0 for all
    - `pause`: seconds that a client waits after a 503 or no response before it is replaced by another

    `unstated` counts the responses with status 500 and above that had no Retry-After.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: str,
        count: int,
        *,
        streams: int = 0,
        leaving: int = 0,
        limit: int = 50,
        at_once: int = 0,
        pause: float = 0.0,
    ) -> None:
        self.finished: Counter[int] = Counter()
        self.unstated = 0
        self._urls = urls
        self._count = count
        self._streams = streams
        self._leaving = leaving
        self._limit = limit
        self._places = asyncio.Semaphore(at_once or count)
        self._pause = pause
        self._headers = {"authorization": f"Bearer {key}"}
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self) -> "Crowd":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=120),
            headers=self._headers,
        )
        # Streams and disconnecting clients are spread among the others.
        every = max(1, self._count // max(1, self._streams + self._leaving))
        kinds = [index // every if index % every == 0 else -1 for index in range(self._count)]
        asking = [self._ask(index, kind) for index, kind in enumerate(kinds)]
        self._tasks = [asyncio.create_task(ask) for ask in asking[: self._leaving > 0]]
        # Disconnecting clients are admitted before the budget runs out, whatever the order of the others.
        await asyncio.gather(*self._tasks)
        self._tasks += [asyncio.create_task(ask) for ask in asking[len(self._tasks) :]]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def done(self) -> Counter[int]:
        """Waits for all requests and counts their statuses. Raises the first exception of a request."""
        await asyncio.gather(*self._tasks)
        return self.finished

    async def _ask(self, index: int, kind: int) -> None:
        async with self._places:
            status = await self._status(index, kind)
            self.finished[status] += 1
            if status in (503, NO_ANSWER):
                await asyncio.sleep(self._pause)

    async def _status(self, index: int, kind: int) -> int:
        stream, leaves = kind >= 0, 0 <= kind < self._leaving
        body = chat(max_tokens=self._limit, stream=stream and kind < self._leaving + self._streams)
        url = self._urls[index % len(self._urls)] + PATH
        try:
            async with self._session.post(url, json=body) as answer:
                if leaves and answer.status == 200:
                    await answer.content.readany()
                    answer.close()
                    return CLIENT_LEFT
                await answer.read()
                self.unstated += answer.status >= 500 and "retry-after" not in answer.headers
                return answer.status
        except aiohttp.ClientError:
            return NO_ANSWER
