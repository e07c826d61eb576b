"""Public keys: JSON Web Key Sets and PEM, and which key may check which token.

https://www.rfc-editor.org/rfc/rfc7517, https://www.rfc-editor.org/rfc/rfc7518#section-6
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .jwt import ALGORITHMS, InvalidToken, Token, decoded, encoded, parsed_json

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
