"""Checks tokens: the steps, and when public keys are fetched. What they are done with is the doors' own: `Door`.

    verifier = Verifier(door)    # one for each process or isolate: it keeps the keys
    trust = Trust("https://issuer.example", ("my-client-id",), ("https://issuer.example/jwks",))
    claims = await verifier.verify(token, [trust], time.time())

The doors are `container/server/token_door.py` and `worker/edge/tokens.py`.

Keys are kept for `ttl` seconds. In the last quarter of that time a request fetches new ones without waiting for them.
When the issuer's server does not answer, the keys that are known serve for `stale_ttl` seconds more; after that, nobody
can sign in. An unknown key id fetches the keys at once, but not more often than every few seconds, as anybody can send
one.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from . import jwt
from .jwt import InvalidToken, PublicKey, Token

DEFAULT_TTL = 600.0
DEFAULT_STALE_TTL = 3600.0
# Seconds that a door may take to fetch something.
FETCH_SECONDS = 5.0
# Seconds after a fetch before an unknown key id causes another, and after a failure before the next attempt.
UNKNOWN_KEY_PAUSE = 10.0
FAILURE_PAUSE = 5.0
_POLL_SECONDS = 0.05
# Tokens whose signature need not be checked again, and the size of one in bytes.
_MOST_REMEMBERED = 500, 8192
_DISCOVERY = "/.well-known/openid-configuration"


class Trust(NamedTuple):
    """Whose tokens are accepted, as checked by `jwt.check`. `keys`: URLs of key sets or of OpenID Connect's discovery
    documents, and PEM texts. Without any, the issuer's discovery document names the key set."""

    issuer: str | None
    audience: tuple[str, ...] | None
    keys: tuple[str, ...] = ()


class CannotFetch(Exception):
    """A door could not fetch something. The reason is for the log."""


class KeysUnavailable(Exception):
    """The keys cannot be fetched now, so nobody knows whether the token is valid: a 503. The reason is for the log."""


class Door(Protocol):
    async def exchange(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        """POSTs the body, or GETs without one. Returns the status and at most `jwt.MOST_BYTES`, within FETCH_SECONDS
        and without following redirects. Raises CannotFetch."""
        ...

    async def is_signed(self, key: PublicKey, token: Token) -> bool:
        """Whether the key has signed the token. Their kinds and sizes have been checked."""
        ...

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work that nobody waits for."""
        ...

    def report(self, event: str, url: str, reason: str) -> None:
        """Logs a warning."""
        ...


async def fetch(door: Door, url: str) -> bytes:
    """Returns the body of a 200. Raises CannotFetch."""
    status, content = await door.exchange(url, {"accept": "application/json"}, None)
    if status != 200:
        raise CannotFetch(f"the server answered {status}")
    return content


class Verifier:
    def __init__(
        self,
        door: Door,
        *,
        ttl: float = DEFAULT_TTL,
        stale_ttl: float = DEFAULT_STALE_TTL,
        leeway: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ttl`, `stale_ttl`: of public keys, see above. `leeway`: seconds that clocks may differ."""
        self._door = door
        self._leeway = leeway
        self._clock = clock
        self._ttls = ttl, stale_ttl
        self._remote: dict[str, _RemoteKeys] = {}
        # By the token's hash.
        self._seen: OrderedDict[bytes, tuple[Token, PublicKey]] = OrderedDict()

    async def verify(self, token: str, trusts: Sequence[Trust], now: float) -> Mapping[str, Any]:
        """Returns the claims of a valid token. Raises InvalidToken or KeysUnavailable. `now`: seconds since 1970.

        Of several trusts, the first with the token's issuer applies, then the first with any.
        """
        name = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        parsed, signer = self._seen.get(name) or (jwt.parse(token), None)
        trust = _trust(parsed.claims.get("iss"), trusts)
        keys = await self._keys(trust, parsed)
        if signer not in keys:
            if signer is not None:
                parsed = jwt.parse(token)  # with its signature
            self._remember(name, parsed, await self._signer(keys, parsed))
        jwt.check(parsed.claims, issuer=trust.issuer, audience=trust.audience, now=now, leeway=self._leeway)
        return parsed.claims

    async def _signer(self, keys: Sequence[PublicKey], token: Token) -> PublicKey:
        for key in keys:
            if jwt.has_the_form_of_a_signature(token, key) and await self._door.is_signed(key, token):
                return key
        raise InvalidToken("its signature does not match")

    def _remember(self, name: bytes, token: Token, signer: PublicKey) -> None:
        """Saves the next check of the same token its signature: at the edge that costs more than the rest of a request.
        Everything else is checked again, also whether its key is still one of the issuer's."""
        if len(token.signed) <= _MOST_REMEMBERED[1]:
            self._seen[name] = token._replace(signed=b"", signature=b""), signer
            if len(self._seen) > _MOST_REMEMBERED[0]:
                self._seen.popitem(last=False)

    def prepare(self, trusts: Sequence[Trust]) -> None:
        """Fetches all keys in the background, so that the first request need not wait."""
        for trust in trusts:
            for url in _urls(trust):
                self._door.later(self._at(url).prepare())

    async def _keys(self, trust: Trust, token: Token) -> list[PublicKey]:
        known = [key for text in trust.keys if jwt.is_pem(text) for key in jwt.from_pem(text)]
        found = jwt.fitting(known, token._replace(kid=None))  # PEM has no key ids
        failed: KeysUnavailable | None = None
        for url in () if found else _urls(trust):
            try:
                found = await self._at(url).fitting(token)
            except KeysUnavailable as error:
                failed = error
            if found:
                break
        if not found:
            raise failed or InvalidToken("none of the issuer's keys has its key id (kid)")
        return found

    def _at(self, url: str) -> "_RemoteKeys":
        if url not in self._remote:
            self._remote[url] = _RemoteKeys(url, self._door, *self._ttls, self._clock)
        return self._remote[url]


def _trust(issuer: Any, trusts: Sequence[Trust]) -> Trust:
    for trust in trusts:
        if trust.issuer is not None and trust.issuer == issuer:
            return trust
    for trust in trusts:
        if trust.issuer is None:
            return trust
    raise InvalidToken("it is of another issuer (iss)")


def _urls(trust: Trust) -> list[str]:
    if not trust.keys and trust.issuer is not None:
        return [trust.issuer.rstrip("/") + _DISCOVERY]
    return [text for text in trust.keys if not jwt.is_pem(text)]


class _RemoteKeys:
    """The keys at one URL. All times are in seconds on a monotonic clock."""

    def __init__(self, url: str, door: Door, ttl: float, stale_ttl: float, clock: Callable[[], float]) -> None:
        self._url = url
        self._door = door
        self._ttl, self._stale_ttl = ttl, stale_ttl
        self._clock = clock
        self._keys: list[PublicKey] | None = None
        self._fetched = 0.0
        # A fetch is running, and counts as lost after this time: at the edge it ends without a word with its request.
        self._busy_until: float | None = None
        self._tried, self._failure = 0.0, ""
        self._fetches = 0  # that have ended, either way

    async def fitting(self, token: Token) -> list[PublicKey]:
        """Returns the token's keys, none if there are none. Raises KeysUnavailable or InvalidToken."""
        now = self._clock()
        age = now - self._fetched
        if self._keys is None or age >= self._ttl + self._stale_ttl or (age >= self._ttl and not self._failure):
            await self._renew()
        elif age >= self._ttl * 3 / 4 and self._may_try(now):
            self._busy_until = now + FETCH_SECONDS  # before another request looks
            self._door.later(self._fetch())
        found = jwt.fitting(self._current(), token)
        now = self._clock()
        if not found and (self._is_busy(now) or now - self._tried >= UNKNOWN_KEY_PAUSE):
            await self._renew()
            found = jwt.fitting(self._current(), token)
        return found

    async def prepare(self) -> None:
        await self._renew()

    def _current(self) -> list[PublicKey]:
        """Returns the keys unless they are too old. Raises KeysUnavailable."""
        if self._keys is None or self._clock() - self._fetched >= self._ttl + self._stale_ttl:
            raise KeysUnavailable(self._failure or "they have not been fetched yet")
        return self._keys

    def _may_try(self, now: float) -> bool:
        return not self._is_busy(now) and (not self._failure or now - self._tried >= FAILURE_PAUSE)

    def _is_busy(self, now: float) -> bool:
        return self._busy_until is not None and now < self._busy_until

    async def _renew(self) -> None:
        """Fetches the keys, or waits while another request does. It polls, because at the edge nothing that belongs to
        one request may wake another. If that request is canceled, the next one takes over."""
        before = self._fetches
        while self._is_busy(self._clock()):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        if self._fetches == before and self._may_try(self._clock()):
            await self._fetch()

    async def _fetch(self) -> None:
        began = self._tried = self._clock()
        mine = self._busy_until = began + FETCH_SECONDS
        try:
            self._keys = await self._read()
            self._fetched, self._failure = began, ""
            self._fetches += 1
        except (CannotFetch, ValueError) as error:
            self._failure = str(error)
            self._fetches += 1
            self._door.report("jwt_keys_unavailable", self._url, self._failure)
        finally:
            if self._busy_until == mine:
                self._busy_until = None

    async def _read(self) -> list[PublicKey]:
        """Raises CannotFetch or ValueError."""
        content = await fetch(self._door, self._url)
        found = jwt.parsed_json(content)
        if isinstance(found, dict) and "keys" not in found and "jwks_uri" in found:
            address, scheme = found["jwks_uri"], self._url.partition("//")[0]
            if not isinstance(address, str) or not address.startswith(("https://", f"{scheme}//")):
                raise ValueError("the discovery document names no key set (jwks_uri)")
            content = await fetch(self._door, address)
        return jwt.key_set(content)
