"""A cache of complete responses in Redis, for identical requests with the same key.

Redis gets half a second per call, and is skipped for a while after a failure. Without it, requests proceed as if there
were no cache.
"""

import asyncio
import hashlib
import time
from typing import Any

import orjson

from ..config.sections import ResponseCache as Options
from ..observability import log
from ..request.completion import Completion
from ..server.context import RequestContext

PREFIX = "litellm-router:answer:"
MOST_BYTES = 1024 * 1024
PATIENCE_SECONDS = 0.5
PAUSE_SECONDS = 5.0
# Pending writes to Redis. Further responses are not cached.
_MOST_WRITING = 100


class ResponseCache:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._client: Any = None
        self._away_until = 0.0
        self._away = False
        self._writing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing, timeout=PATIENCE_SECONDS)
        if self._client is not None:
            await self._client.aclose()

    def key(self, context: RequestContext, request: Completion, deployments: tuple[str, ...]) -> str | None:
        """Return the cache key, or None if the request cannot be cached.

        `deployments`: ids of the deployments that serve the model, so that configurations do not share responses.
        """
        owner = context.owner
        if owner is None or request.endpoint not in self._options.endpoints:
            return None
        what = [owner, request.endpoint, deployments, request.output_limit, request.most_output, request.body]
        try:
            data = orjson.dumps(what, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            return None
        return hashlib.sha256(data).hexdigest()

    async def get(self, key: str) -> bytes | None:
        """Errors of Redis count as a miss."""
        return await self._ask(lambda client: client.get(self._name(key)))

    def put(self, key: str, answer: bytes) -> None:
        """Store a response in the background."""
        if len(answer) > MOST_BYTES or len(self._writing) >= _MOST_WRITING:
            return
        milliseconds = max(1, int(self._options.ttl * 1000))
        work = self._ask(lambda client: client.set(self._name(key), answer, px=milliseconds))
        task = asyncio.get_running_loop().create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _name(self, key: str) -> str:
        return f"{PREFIX}{self._options.namespace}:{key}"

    async def _ask(self, call: Any) -> Any:
        from redis import asyncio as redis  # imported only if there is a cache
        from redis.exceptions import RedisError

        if time.monotonic() < self._away_until:
            return None
        if self._client is None:
            self._client = redis.Redis.from_url(
                self._options.url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
            )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await call(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            if not self._away:
                log.warning("cache_lost", error=type(error).__name__, effect="Responses are not cached.")
            self._away = True
            return None
        if self._away:
            log.info("cache_back")
        self._away = False
        return found


def controls(context: RequestContext, request: Completion) -> tuple[bool, bool]:
    """Return whether the client allows a response from the cache, and whether it allows caching its own."""
    header = (context.header("cache-control") or "").lower()
    said = {part.strip() for part in header.split(",")} if header else set()
    said |= {name for name, value in request.cache.items() if value}
    return not said & {"no-cache", "no-store"}, "no-store" not in said
