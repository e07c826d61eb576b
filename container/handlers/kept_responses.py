"""Keeps responses in the ledger's database, encrypted, for models whose provider stores none."""

import asyncio
import base64
import os
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from worker.core.api.errors import service_unavailable
from worker.core.ledger import kept_responses as decisions
from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect
from worker.core.values.derived_secrets import derived

from ..ledger.store import LedgerUnavailable
from ..observability import log

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DAY_MS = 86_400_000
_BYTES_PER_MB = 1024 * 1024
_NONCE_BYTES = 12
# Larger content is processed in a thread.
_LARGE = 16 * 1024
# Smaller content is not worth compressing.
_SMALL = 512
# A single response may take this share of what its owner may keep.
_SHARE = 4

Run = Callable[..., Awaitable[Any]]
Object = dict[str, Any]


class Kept(NamedTuple):
    """A response and its input items, both with their own ids."""

    response: Object
    input: list[Object]


class KeptResponses:
    """`run` executes a decision on the ledger, in `dialect`, as `Ledger.run`. `secret`: in hexadecimal. `megabytes`:
    for each owner. `now` returns milliseconds since 1970."""

    def __init__(
        self, run: Run, dialect: Dialect, secret: str, *, days: float, megabytes: float, now: Callable[[], int]
    ) -> None:
        self._run = run
        self._dialect = dialect
        self._secret = derived(bytes.fromhex(secret), b"kept", 32)
        self._kept_ms = int(days * DAY_MS)
        self._most = int(megabytes * _BYTES_PER_MB)
        self._now = now
        self._known: AESGCM | None = None

    async def keep(self, id: str, owner: str, kept: Kept) -> bool:
        """Return whether the response was kept. It is not if it is too large or nested too deeply, or if the ledger is
        unavailable."""
        try:
            raw = [orjson.dumps(part) for part in kept]
        except orjson.JSONEncodeError:
            return False
        if sum(map(len, raw)) > _LARGE:
            content = await asyncio.to_thread(lambda: [self._encrypted(part, owner, id) for part in raw])
        else:
            content = [self._encrypted(part, owner, id) for part in raw]
        if sum(map(len, content)) > self._most // _SHARE:
            return False
        now = self._now()
        both = content[0], content[1]
        try:
            done = await self._run(decisions.keep, self._dialect, id, owner, both, now, now + self._kept_ms, self._most)
        except LedgerUnavailable as error:
            log.warning("response_not_kept", reason=str(error))
            return False
        return done["kept"]

    async def response(self, id: str, owner: str) -> Object | None:
        """Return the response, or None. Raises ApiError 503."""
        found = await self._found(id, owner)
        return None if found is None else await self._decrypted(found[0], owner, id)

    async def whole(self, id: str, owner: str) -> Kept | None:
        """Return the response and its input, or None. Raises ApiError 503."""
        found = await self._found(id, owner)
        if found is None:
            return None
        response, given = [await self._decrypted(part, owner, id) for part in found]
        return None if response is None or given is None else Kept(response, given)

    async def forget(self, id: str, owner: str) -> bool:
        """Return whether the owner had such a response. Raises ApiError 503."""
        return (await self._asked(decisions.forget, id, owner, self._now()))["deleted"]

    async def _found(self, id: str, owner: str) -> tuple[str, str] | None:
        return (await self._asked(decisions.find, id, owner, self._now()))["content"]

    async def _asked(self, make: Callable[..., Decision], *arguments: Any) -> Any:
        try:
            return await self._run(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable("The ledger cannot be used now. Try again in a moment.") from None

    @property
    def _cipher(self) -> "AESGCM":
        if self._known is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # imported on first use

            self._known = AESGCM(self._secret)
        return self._known

    def _encrypted(self, raw: bytes, owner: str, id: str) -> str:
        """The first byte of the plain text says whether the rest is compressed."""
        plain = b"\1" + zlib.compress(raw, 1) if len(raw) >= _SMALL else b"\0" + raw
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, plain, f"{owner}/{id}".encode())).decode()

    async def _decrypted(self, text: str, owner: str, id: str) -> Any:
        """Return None if the secret has changed since."""

        def work() -> Any:
            from cryptography.exceptions import InvalidTag

            data = base64.b64decode(text)
            try:
                plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], f"{owner}/{id}".encode())
            except InvalidTag:
                return None
            return orjson.loads(zlib.decompress(plain[1:]) if plain[:1] == b"\1" else plain[1:])

        return await asyncio.to_thread(work) if len(text) > _LARGE else work()
