"""JSON Web Tokens: parsing, the checks of header and claims, and when public keys are fetched (`Verifier`). Fetching
keys and checking signatures is up to the doors, `container/server/token_door.py` and `worker/edge/sign_in.py`.

    verifier = Verifier(door)    # one for each process or isolate: it keeps the keys
    trust = Trust("https://issuer.example", ("my-client-id",), ("https://issuer.example/jwks",))
    claims = await verifier.verify(token, [trust], time.time())

https://www.rfc-editor.org/rfc/rfc7519 and, for what goes wrong, https://www.rfc-editor.org/rfc/rfc8725

Everything in a token is an attacker's until its signature has been checked. Of its header nothing but `alg` and `kid`
is used, and these only select among the keys that the configuration names. No message contains any part of a token.

Keys are kept for `ttl` seconds. In the last quarter of that time a request fetches new ones without waiting for them.
When the issuer's server does not answer, the keys that are known serve for `stale_ttl` seconds more; after that, nobody
can sign in. An unknown key id fetches the keys at once, but not more often than every few seconds, as anybody can send
one.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

# No token is longer, in characters. Microsoft's and Keycloak's with many groups have about 10,000.
MOST_CHARACTERS = 16_384
# A parser is recursive, and at the edge a stack overflow ends the isolate. The depth cannot exceed this.
MOST_BRACKETS = 1_000
_LONGEST_KID = 512
# Of a NumericDate. Larger ones cannot be told apart as floats.
_LAST_MOMENT = 1 << 53
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# The kinds of token in `typ` that may be presented, without "application/". Others, such as logout tokens, are signed
# with the same keys but are no credentials.
_TYPES = ("jwt", "at+jwt", "id+jwt")


class InvalidToken(Exception):
    """The token is refused. The reason completes "This JWT is not valid: "; it can be shown to the client."""


class Algorithm(NamedTuple):
    """`kty`, `crv`: of its keys. `bits`: of its hash. `pss`: RSASSA-PSS. `size`: of a signature in bytes, 0 if it is
    that of the key's modulus."""

    kty: str
    crv: str
    bits: int
    size: int
    pss: bool = False


# Asymmetric ones only: with HMAC, whoever can check a token can make one.
ALGORITHMS: Mapping[str, Algorithm] = {
    "RS256": Algorithm("RSA", "", 256, 0),
    "RS384": Algorithm("RSA", "", 384, 0),
    "RS512": Algorithm("RSA", "", 512, 0),
    "PS256": Algorithm("RSA", "", 256, 0, pss=True),
    "PS384": Algorithm("RSA", "", 384, 0, pss=True),
    "PS512": Algorithm("RSA", "", 512, 0, pss=True),
    "ES256": Algorithm("EC", "P-256", 256, 64),
    "ES384": Algorithm("EC", "P-384", 384, 96),
    "ES512": Algorithm("EC", "P-521", 512, 132),
    "EdDSA": Algorithm("OKP", "Ed25519", 512, 64),
    "Ed25519": Algorithm("OKP", "Ed25519", 512, 64),
}


class Token(NamedTuple):
    """A token whose signature has not been checked. `signed`: the bytes that the signature is for."""

    algorithm: str
    kid: str | None
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def parse(token: str) -> Token:
    """Raises InvalidToken."""
    if len(token) > MOST_CHARACTERS:
        raise InvalidToken(f"it has more than {MOST_CHARACTERS} characters")
    if token.count(".") == 4:
        raise InvalidToken("it is encrypted (JWE); only signed tokens are accepted")
    parts = _FORM.fullmatch(token)
    if parts is None:
        raise InvalidToken("it does not consist of three parts in base64url")
    header = _object(_decoded(parts[1]))
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    if "crit" in header:  # names extensions that must be understood, and none is
        raise InvalidToken("it needs an extension (crit) that is not supported")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= _LONGEST_KID):
        raise InvalidToken("its key id (kid) is not a short text")
    if kind is not None and not (isinstance(kind, str) and _is_a_credential(kind)):
        raise InvalidToken("its type (typ) is not that of an access or ID token")
    signed = f"{parts[1]}.{parts[2]}".encode()
    return Token(algorithm, kid, _object(_decoded(parts[2])), signed, _decoded(parts[3]))


def check(
    claims: Mapping[str, Any],
    *,
    issuer: str | None,
    audience: Sequence[str] | None,
    now: float,
    leeway: float = 0.0,
) -> None:
    """Checks the registered claims. Raises InvalidToken.

    `issuer`: None accepts any. `audience`: the names of this gateway, one of which the token must be for; None accepts
    any. `now`: seconds since 1970. `leeway`: seconds that clocks may differ. A token must expire.
    """
    issued_by, meant_for = claims.get("iss"), claims.get("aud")
    if issuer is not None and issued_by != issuer:
        raise InvalidToken("it is of another issuer (iss)")
    if audience is not None:
        names = [meant_for] if isinstance(meant_for, str) else meant_for
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidToken("its audience (aud) is missing or no text")
        if not set(names) & set(audience):
            raise InvalidToken("it is for another audience (aud)")
    expires, begins, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise InvalidToken("it never expires (exp is missing)")
    if expires <= now - leeway:
        raise InvalidToken("it has expired")
    if begins is not None and begins > now + leeway:
        raise InvalidToken("it is not valid yet (nbf)")
    if issued is not None and issued > now + leeway:
        raise InvalidToken("it was issued in the future (iat)")


def parsed_json(text: bytes) -> Any:
    """Parses JSON strictly: UTF-8, every name once, only JSON's numbers. Raises ValueError."""
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        raise ValueError("nested too deeply")
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decoded(text: str) -> bytes:
    """Decodes base64url without padding. Raises ValueError for any spelling but the only right one."""
    try:
        found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if encoded(found) != text:
        raise ValueError("not base64url")
    return found


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    try:
        return decoded(part)
    except ValueError:
        raise InvalidToken("it does not consist of three parts in base64url") from None


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = parsed_json(content)
    except ValueError:
        raise InvalidToken("its header or its claims cannot be read") from None
    if not isinstance(found, dict):
        raise InvalidToken("its header or its claims are not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7519, section 4: a name that appears twice may mean one thing to the issuer and another here."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _is_a_credential(kind: str) -> bool:
    return kind.lower().removeprefix("application/") in _TYPES


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} is not a number")
    if not 0 <= value <= _LAST_MOMENT:  # nor is infinity, or what is no number
        raise InvalidToken(f"{name} is not a moment")
    return float(value)


# RFC 7518, section 3.3: at least 2048 bits. More than 8192 only costs time.
_RSA_BITS = 2048, 8192
_LARGEST_EXPONENT = (1 << 32) - 1
_COORDINATES = {"P-256": 32, "P-384": 48, "P-521": 66}
# Bytes of a key set, and keys in it.
MOST_BYTES = 512 * 1024
_MOST_KEYS = 200
# Keys that are tried for one token: more than one only without a `kid`, or if keys share it.
_MOST_TRIED = 4


class PublicKey(NamedTuple):
    """`kid`: its id, None if it has none. `algorithms`: those that it may be used with. `jwk`: its public members, as
    (name, value). `size`: of the modulus in bytes."""

    kid: str | None
    algorithms: tuple[str, ...]
    jwk: tuple[tuple[str, str], ...]
    size: int = 0


def key_set(content: bytes) -> list[PublicKey]:
    """Reads a key set, a list of keys or a single one. Keys that cannot check tokens here are left out, as RFC 7517,
    section 5, wants. Raises ValueError if it is no key set at all."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES} bytes")
    found = parsed_json(content)
    if isinstance(found, dict) and "kty" in found:
        found = [found]
    keys = found.get("keys") if isinstance(found, dict) else found
    if not isinstance(keys, list):
        raise ValueError("has no list of keys")
    read = (_usable(jwk) for jwk in keys[:_MOST_KEYS])
    return [key for key in read if key is not None]


def fitting(keys: Iterable[PublicKey], token: Token) -> list[PublicKey]:
    """Returns the keys that may have signed the token: those with its `kid`, or without a `kid` all of its kind.

    Raises InvalidToken if they may not be used with the token's algorithm.
    """
    named = [key for key in keys if token.kid is None or key.kid == token.kid]
    found = [key for key in named if token.algorithm in key.algorithms]
    if named and not found:
        raise InvalidToken("its algorithm is not that of its key")
    return found[:_MOST_TRIED]


def has_the_form_of_a_signature(token: Token, key: PublicKey) -> bool:
    """Whether the signature is of the algorithm's length and, for ECDSA, not zero: careless libraries take that for
    anybody's signature of anything."""
    algorithm = ALGORITHMS[token.algorithm]
    signature = token.signature
    if len(signature) != (algorithm.size or key.size):
        return False
    half = len(signature) // 2
    return algorithm.kty != "EC" or (any(signature[:half]) and any(signature[half:]))


def is_pem(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN")


@lru_cache(maxsize=16)
def from_pem(text: str) -> tuple[PublicKey, ...]:
    """Reads public keys and certificates. They have no `kid`. Raises ValueError with instructions."""
    blocks = list(_PEM.finditer(text.replace("\\n", "\n")))
    found = []
    for block in blocks:
        if block[1] not in ("PUBLIC KEY", "CERTIFICATE"):
            raise ValueError("is not a PUBLIC KEY or a CERTIFICATE in PEM")
        try:
            content = base64.b64decode("".join(block[2].split()), validate=True)
            info = _of_a_certificate(content) if block[1] == "CERTIFICATE" else content
            key = _usable(_from_key_info(info))
        except (binascii.Error, IndexError, ValueError, StopIteration):
            key = None
        if key is None:
            raise ValueError("holds a key that cannot be used: RSA from 2048 bits, P-256, P-384, P-521 or Ed25519")
        found.append(key)
    if not found:
        raise ValueError("is not a PUBLIC KEY or a CERTIFICATE in PEM")
    return tuple(found)


def _usable(jwk: Any) -> PublicKey | None:
    """Returns the key if it may check tokens here. Only its public members are kept."""
    if not isinstance(jwk, dict):
        return None
    kid, only, use, operations = (jwk.get(name) for name in ("kid", "alg", "use", "key_ops"))
    if not all(one is None or isinstance(one, str) for one in (kid, only)) or use not in (None, "sig"):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    kty, crv = jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else ""
    algorithms = [name for name, one in ALGORITHMS.items() if (one.kty, one.crv) == (kty, crv)]
    if only is not None:
        algorithms = [name for name in algorithms if name == only or {name, only} == {"EdDSA", "Ed25519"}]
    try:
        members, size = _members(kty, crv, jwk) if algorithms else ((), 0)
    except (ValueError, TypeError, KeyError):
        return None
    return PublicKey(kid, tuple(algorithms), members, size) if members else None


def _members(kty: Any, crv: Any, jwk: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], int]:
    """Returns the public members in their only right spelling, and the size of an RSA modulus. Raises ValueError,
    TypeError or KeyError."""
    if kty == "RSA":
        n, e = (int.from_bytes(decoded(jwk[name])) for name in "ne")
        if not _RSA_BITS[0] <= n.bit_length() <= _RSA_BITS[1] or not 3 <= e <= _LARGEST_EXPONENT or e % 2 == 0:
            raise ValueError("unsafe")
        size = (n.bit_length() + 7) // 8
        whole = {"n": n.to_bytes(size), "e": e.to_bytes((e.bit_length() + 7) // 8)}
        return (("kty", kty), *((name, encoded(value)) for name, value in whole.items())), size
    names = "xy" if kty == "EC" else "x"
    for name in names:
        if len(decoded(jwk[name])) != _COORDINATES.get(crv, 32):
            raise ValueError("wrong length")
    return (("kty", kty), ("crv", crv), *((name, jwk[name]) for name in names)), 0


_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----")
# https://www.rfc-editor.org/rfc/rfc5480 and https://www.rfc-editor.org/rfc/rfc8410, in DER
_RSA_ID = bytes.fromhex("2a864886f70d010101")
_EC_ID = bytes.fromhex("2a8648ce3d0201")
_ED25519_ID = bytes.fromhex("2b6570")
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "P-256",
    bytes.fromhex("2b81040022"): "P-384",
    bytes.fromhex("2b81040023"): "P-521",
}
_INTEGER, _BITS, _OBJECT_ID, _SEQUENCE, _VERSION = 0x02, 0x03, 0x06, 0x30, 0xA0
_UNCOMPRESSED = 4


def _from_key_info(info: bytes) -> dict[str, str] | None:
    """Converts a SubjectPublicKeyInfo (RFC 5280) to a JWK. Raises ValueError, IndexError or StopIteration."""
    identifier, bits = _items(_content(info, _SEQUENCE), _SEQUENCE, _BITS)
    parameters = list(_walk(identifier))
    id, key = parameters[0][1], bits[1:]  # the first byte is the number of unused bits
    if id == _RSA_ID:
        n, e = _items(_content(key, _SEQUENCE), _INTEGER, _INTEGER)
        return {"kty": "RSA", "n": encoded(n.lstrip(b"\0")), "e": encoded(e.lstrip(b"\0"))}
    if id == _EC_ID and key[0] == _UNCOMPRESSED:
        half = (len(key) + 1) // 2
        crv = _CURVES.get(parameters[1][1], "")
        return {"kty": "EC", "crv": crv, "x": encoded(key[1:half]), "y": encoded(key[half:])}
    if id == _ED25519_ID:
        return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key)}
    return None


def _of_a_certificate(certificate: bytes) -> bytes:
    """Returns the SubjectPublicKeyInfo. Its signature is not checked: whoever configures it trusts the key itself."""
    (to_be_signed, *_) = _items(_content(certificate, _SEQUENCE), _SEQUENCE)
    fields = [field for field in _walk(to_be_signed) if field[0] != _VERSION]
    # serial number, algorithm, issuer, validity, subject, key
    return fields[5][2]


def _content(der: bytes, tag: int) -> bytes:
    (found,) = _items(der, tag)
    return found


def _items(der: bytes, *tags: int) -> list[bytes]:
    """Returns the contents of the first items. Raises ValueError if their tags are others."""
    found = list(_walk(der))
    if [item[0] for item in found[: len(tags)]] != list(tags):
        raise ValueError("unexpected DER")
    return [item[1] for item in found[: len(tags)]]


def _walk(der: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields the tag, the content and the whole of each item. Raises ValueError or IndexError."""
    at = 0
    while at < len(der):
        tag, length, start = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, start = int.from_bytes(der[start : start + size]), start + size
        if start + length > len(der):
            raise ValueError("DER ends early")
        yield tag, der[start : start + length], der[at : start + length]
        at = start + length


# Whose tokens are accepted, and their keys.

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
        parsed, signer = self._seen.get(name) or (parse(token), None)
        trust = _trust(parsed.claims.get("iss"), trusts)
        keys = await self._keys(trust, parsed)
        if signer not in keys:
            if signer is not None:
                parsed = parse(token)  # with its signature
            self._remember(name, parsed, await self._signer(keys, parsed))
        check(parsed.claims, issuer=trust.issuer, audience=trust.audience, now=now, leeway=self._leeway)
        return parsed.claims

    async def _signer(self, keys: Sequence[PublicKey], token: Token) -> PublicKey:
        for key in keys:
            if has_the_form_of_a_signature(token, key) and await self._door.is_signed(key, token):
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
        known = [key for text in trust.keys if is_pem(text) for key in from_pem(text)]
        found = fitting(known, token._replace(kid=None))  # PEM has no key ids
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
    return [text for text in trust.keys if not is_pem(text)]


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
        found = fitting(self._current(), token)
        now = self._clock()
        if not found and (self._is_busy(now) or now - self._tried >= UNKNOWN_KEY_PAUSE):
            await self._renew()
            found = fitting(self._current(), token)
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
        found = parsed_json(content)
        if isinstance(found, dict) and "keys" not in found and "jwks_uri" in found:
            address, scheme = found["jwks_uri"], self._url.partition("//")[0]
            if not isinstance(address, str) or not address.startswith(("https://", f"{scheme}//")):
                raise ValueError("the discovery document names no key set (jwks_uri)")
            content = await fetch(self._door, address)
        return key_set(content)
