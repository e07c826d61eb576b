"""Shares cooldowns between replicas through Redis. Without Redis each replica learns on its own.

There is one key per deployment, `litellm-router:cooldown:{id}`. It holds the end of the cooldown in milliseconds since
1970 and expires at that time.
"""

import asyncio
import time

from ..observability import log
from .router import Router

PREFIX = "litellm-router:cooldown:"
POLL_SECONDS = 1.0
RETRY_SECONDS = 5.0


class SharedCooldowns:
    """Publishes this replica's cooldowns and applies those of others, about once a second."""

    def __init__(self, router: Router, url: str) -> None:
        self._router = router
        self._url = url
        self._news: dict[str, float] = {}  # id -> end of the cooldown, seconds since the epoch
        self._seen: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task | None = None
        self.follow(router)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    def follow(self, router: Router) -> None:
        """Switch to another router."""
        self._router = router
        router.on_cooldown = self._tell

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _tell(self, deployment: str, seconds: float) -> None:
        self._news[deployment] = time.time() + seconds
        self._wake.set()

    async def _keep(self) -> None:
        from redis import asyncio as redis  # imported only if Redis is used
        from redis.exceptions import RedisError

        reachable = True
        while True:
            client = redis.Redis.from_url(self._url, socket_timeout=2, socket_connect_timeout=2)
            try:
                while True:
                    await self._exchange(client)
                    if not reachable:
                        log.info("redis_back")
                    reachable = True
                    await self._pause()
            except (RedisError, OSError, TimeoutError) as error:
                if reachable:
                    log.warning("redis_lost", error=type(error).__name__, effect="cooldowns are not shared")
                reachable = False
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                await client.aclose()

    async def _pause(self) -> None:
        self._wake.clear()
        if self._news:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    async def _exchange(self, client) -> None:
        news, self._news, now = self._news, {}, time.time()
        pipeline = client.pipeline(transaction=False)
        for deployment, end in news.items():
            if end > now:
                value = str(int(end * 1000)).encode()
                self._seen[deployment] = value
                pipeline.set(PREFIX + deployment, value, pxat=int(end * 1000))
        names = list(self._router.health)
        pipeline.mget([PREFIX + name for name in names])
        try:
            values = (await pipeline.execute())[-1]
        except BaseException:
            self._news = {**news, **self._news}  # send it next time
            raise
        for name, value in zip(names, values, strict=True):
            if value is None or self._seen.get(name) == value:
                continue
            self._seen[name] = value
            self._router.cool(name, int(value) / 1000 - now)
