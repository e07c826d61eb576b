"""An issuer of tokens, made of cryptography alone, so that it shares nothing with what is tested and can also make what
no library makes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://issuer.example"
AUDIENCE = "gateway"
_HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def part(content: Any) -> str:
    """A part of a token. `content`: JSON's values, or bytes as they are."""
    return b64(content if isinstance(content, bytes) else json.dumps(content).encode())


def private_key(algorithm: str, which: int = 0) -> Any:
    """`which`: another key for each number."""
    return _made(algorithm, which)


@cache
def _made(algorithm: str, _: int) -> Any:
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(65537, 2048)
    return (
        ec.generate_private_key(_CURVES[algorithm]()) if algorithm[:2] == "ES" else ed25519.Ed25519PrivateKey.generate()
    )


def signature(key: Any, algorithm: str, signed: bytes) -> bytes:
    if algorithm in ("EdDSA", "Ed25519"):
        return key.sign(signed)
    hash = _HASHES[algorithm[2:]]()
    if algorithm.startswith("ES"):
        size = (key.key_size + 7) // 8
        return b"".join(n.to_bytes(size) for n in decode_dss_signature(key.sign(signed, ec.ECDSA(hash))))
    pss = padding.PSS(padding.MGF1(hash), hash.digest_size)
    return key.sign(signed, pss if algorithm.startswith("PS") else padding.PKCS1v15(), hash)


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """The public key as a JWK with further `members`."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        n, e = public.public_numbers().n, public.public_numbers().e
        found = {"kty": "RSA", "n": b64(n.to_bytes((n.bit_length() + 7) // 8)), "e": b64(e.to_bytes(3))}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        numbers, size = public.public_numbers(), (public.key_size + 7) // 8
        crv = {256: "P-256", 384: "P-384", 521: "P-521"}.get(public.key_size, public.curve.name)
        found = {"kty": "EC", "crv": crv, "x": b64(numbers.x.to_bytes(size)), "y": b64(numbers.y.to_bytes(size))}
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return found | members


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a valid token. A value of None leaves one out."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, **more}
    return {name: value for name, value in found.items() if value is not None}


def token(
    payload: Mapping[str, Any] | bytes | None = None,
    *,
    algorithm: str = "RS256",
    key: Any = None,
    header: Mapping[str, Any] | bytes | None = None,
    kid: str | None = None,
) -> str:
    """A signed token. `payload`: its claims, else those of `claims`. `header`: added to `alg`, `typ` and `kid`, or the
    bytes to send. `kid`: by default the algorithm's name."""
    key = key or private_key(algorithm)
    head: Any = header
    if not isinstance(header, bytes):
        head = {"alg": algorithm, "typ": "JWT", "kid": kid or algorithm, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
    signed = f"{part(head)}.{part(claims() if payload is None else payload)}"
    return f"{signed}.{b64(signature(key, algorithm, signed.encode()))}"


def hmac_token(secret: bytes, payload: Mapping[str, Any] | None = None, **header: Any) -> str:
    """A token signed with HS256."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'RS256', **header})}.{part(payload or claims())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def key_set(*algorithms: str) -> dict[str, Any]:
    """A key set with a key for each algorithm, whose `kid` is the algorithm's name."""
    return {"keys": [jwk(private_key(name), kid=name, use="sig", alg=name) for name in algorithms or ALGORITHMS]}
