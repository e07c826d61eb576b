"""JSON Web Tokens: parsing, and the checks of header and claims. Fetching keys and checking signatures is up to the
doors, see `verifier`.

https://www.rfc-editor.org/rfc/rfc7519 and, for what goes wrong, https://www.rfc-editor.org/rfc/rfc8725

Everything in a token is an attacker's until its signature has been checked. Of its header nothing but `alg` and `kid`
is used, and these only select among the keys that the configuration names. No message contains any part of a token.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

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
