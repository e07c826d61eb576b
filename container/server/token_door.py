"""How the proxy fetches public keys and checks signatures, for `worker.core.identity.jwt`.

PyJWT and cryptography are imported with the first token.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from worker.core.identity import jwt
from worker.core.identity.jwt import FETCH_SECONDS, CannotFetch, PublicKey, Token

from ..http_client.client import Client
from ..http_client.request import HttpError, Proxies
from ..observability import log

_MOST_KEYS = 1000


class TokenDoor:
    """A `Door`. Close it after the last request."""

    def __init__(self, *, connect_timeout: float, proxies: Proxies | None = None) -> None:
        self._client = Client(connect_timeout=min(connect_timeout, FETCH_SECONDS), proxies=proxies)
        self._keys: dict[tuple[PublicKey, str], Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def exchange(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        response = None
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                if body is None:
                    response = await self._client.bare("GET", url, headers)
                else:
                    response = await self._client.post(url, body, headers)
                content = b""
                while part := await response.readany():
                    content += part
                    if len(content) > jwt.MOST_BYTES:
                        raise CannotFetch(f"the answer has more than {jwt.MOST_BYTES} bytes")
                return response.status, content
        except TimeoutError:
            raise CannotFetch(f"no answer within {FETCH_SECONDS:g} s") from None
        except (HttpError, OSError) as error:
            raise CannotFetch(f"the server cannot be reached: {type(error).__name__}") from None
        finally:
            if response is not None:
                response.close()

    async def is_signed(self, key: PublicKey, token: Token) -> bool:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from jwt.algorithms import get_default_algorithms
        from jwt.exceptions import PyJWTError

        name = "EdDSA" if token.algorithm == "Ed25519" else token.algorithm
        algorithm = get_default_algorithms()[name]
        try:
            own = self._keys.get((key, name))
            if own is None:
                own = algorithm.from_jwk(dict(key.jwk))
                if len(self._keys) >= _MOST_KEYS:
                    self._keys.clear()
                self._keys[key, name] = own
            return algorithm.verify(token.signed, own, token.signature)
        except (PyJWTError, InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def report(self, event: str, url: str, reason: str) -> None:
        log.warning(event, url=url, reason=reason)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
