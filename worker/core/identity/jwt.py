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
from collections.abc import Mapping, Sequence
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
