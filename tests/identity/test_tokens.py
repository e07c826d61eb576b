"""Which tokens are accepted, and that everything else is refused: alone by PyJWT, at the edge by WebCrypto."""

import json
import time
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from worker.core.identity.jwt import Trust

from . import issuer
from .conftest import NewVerifier
from .issuer import ALGORITHMS, b64, claims, jwk, key_set, part, private_key, token
from .key_server import KeyServer

NOW = int(time.time())
RSA_PEM = issuer.pem(private_key("RS256"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_each_algorithm(new_verifier: NewVerifier, trust: Trust, algorithm: str):
    sent = claims(sub="Ada Lovelace ✓", groups=["a", "b"])
    assert await new_verifier()(token(sent, algorithm=algorithm), [trust]) == {"claims": sent}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_made_by_another_library(new_verifier: NewVerifier, trust: Trust, algorithm: str):
    made = pyjwt.encode(claims(), private_key(algorithm), algorithm=algorithm, headers={"kid": algorithm})
    assert "claims" in await new_verifier()(made, [trust])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_changed_token_is_refused(new_verifier: NewVerifier, trust: Trust, algorithm: str):
    verify = new_verifier()
    header, payload, signature = token(algorithm=algorithm).split(".")
    raw = bytearray(issuer.base64.urlsafe_b64decode(signature + "=="))
    raw[7] ^= 1
    changed = {
        "claims": f"{header}.{part(claims(sub='eve'))}.{signature}",
        "header": f"{part({'alg': algorithm, 'kid': algorithm})}.{payload}.{signature}",
        "signature": f"{header}.{payload}.{b64(bytes(raw))}",
        "other key": token(algorithm=algorithm, key=private_key(algorithm, which=1)),
    }
    for what, sent in changed.items():
        assert await verify(sent, [trust]) == {"invalid": "its signature does not match"}, what


def without_signature(**header: Any) -> str:
    return f"{part({'typ': 'JWT', 'kid': 'RS256', **header})}.{part(claims())}."


def with_signature(raw: bytes, algorithm: str) -> str:
    return ".".join([*token(algorithm=algorithm).split(".")[:2], b64(raw)])


def deep(levels: int) -> bytes:
    return b'{"sub":' + b"[" * levels + b"]" * levels + b"}"


TWICE = json.dumps(claims())[:-1].encode() + b', "sub": "eve"}'
ATTACKS = {
    # no signature, or one that anybody can make
    **{f"alg {name}": without_signature(alg=name) for name in ("none", "None", "NONE", "nOnE")},
    **{f"alg {name} signed": without_signature(alg=name) + b64(b"x" * 256) for name in ("none", "None")},
    "no alg": without_signature() + b64(b"x" * 256),
    "alg is a list": token(header={"alg": ["RS256"]}),
    "alg is a number": token(header={"alg": 256}),
    "empty signature": without_signature(alg="RS256"),
    "HS256 with the PEM": issuer.hmac_token(RSA_PEM.encode()),
    "HS256 with the PEM without its last line's end": issuer.hmac_token(RSA_PEM.strip().encode()),
    "HS256 with the DER": issuer.hmac_token(
        private_key("RS256")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
    "HS256 with the modulus": issuer.hmac_token(issuer.base64.urlsafe_b64decode(jwk(private_key("RS256"))["n"] + "==")),
    "HS256 with nothing": issuer.hmac_token(b""),
    "hs256": issuer.hmac_token(RSA_PEM.encode(), alg="hs256"),
    # another key than the issuer's
    "jwk in the header": token(key=private_key("RS256", which=1), header={"jwk": jwk(private_key("RS256", which=1))}),
    "jku": token(key=private_key("RS256", which=1), header={"jku": "https://evil.example/jwks"}),
    "x5u": token(key=private_key("RS256", which=1), header={"x5u": "https://evil.example/cert"}),
    "x5c": token(key=private_key("RS256", which=1), header={"x5c": ["MIIB"]}),
    "unknown kid": token(kid="someone-else"),
    "kid of another algorithm": token(algorithm="RS256", kid="PS256"),
    "kid of another type": token(algorithm="ES256", kid="RS256"),
    "kid is a path": token(kid="../../../../dev/null"),
    "kid is SQL": token(kid="RS256' OR '1'='1"),
    "kid with NUL": token(kid="RS256\0"),
    "kid is huge": token(kid="k" * 5000),
    "kid is a list": token(header={"kid": ["RS256"]}),
    "kid is an object": token(header={"kid": {"RS256": 1}}),
    "kid is a number": token(header={"kid": 1}),
    "kid is true": token(header={"kid": True}),
    "RS256 as PS256": token(algorithm="RS256", header={"alg": "PS256"}),
    # signatures that careless libraries accept
    **{f"{name} of zeros": with_signature(bytes(size), name) for name, size in (("ES256", 64), ("ES512", 132))},
    "ES256 with r = 0": with_signature(bytes(32) + b"\1" * 32, "ES256"),
    "ES256 with s = 0": with_signature(b"\1" * 32 + bytes(32), "ES256"),
    "ES256 with r = n": with_signature(
        bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") * 2, "ES256"
    ),
    "ES256 in DER": with_signature(private_key("ES256").sign(b"x", ec.ECDSA(issuer.hashes.SHA256())), "ES256"),
    "ES256, a byte short": with_signature(b"\1" * 63, "ES256"),
    "ES256, a byte long": with_signature(b"\1" * 65, "ES256"),
    "Ed25519 of zeros": with_signature(bytes(64), "EdDSA"),
    "RSA of zeros": with_signature(bytes(256), "RS256"),
    "RSA of one": with_signature(bytes(255) + b"\1", "RS256"),
    "RSA, a byte short": with_signature(b"\1" * 255, "RS256"),
    # the form
    "nothing": "..",
    "two parts": token().rpartition(".")[0],
    "four parts": token() + ".e30",
    "encrypted": ".".join([part({"alg": "RSA-OAEP-256", "enc": "A256GCM"}), "a", "b", "c", "d"]),
    "a leading space": " " + token(),
    "a space inside": token().replace(".", ". ", 1),
    "a line's end": token() + "\n",
    "a line's end inside": token().replace(".", "\n.", 1),
    "padded": "==.".join(token().split(".")),
    "padded signature": token(algorithm="ES256") + "==",
    "the other base64": token().replace("-", "+").replace("_", "/") + "/",
    "percent": token().replace(".", "%2E"),
    "not ASCII": token() + "é",
    "bits behind the end": token(algorithm="EdDSA")[:-1] + "B",
    "huge": token(claims(groups=["g" * 20] * 2000)),
    "deep claims": token(deep(3000)),
    "deep header": token(header=b'{"alg":"RS256","kid":"RS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}"),
    "claims are a list": token(b"[]"),
    "claims are text": token(b'"sub"'),
    "claims are null": token(b"null"),
    "header is a list": token(header=b"[]"),
    "not UTF-8": token(b'{"sub":"\xff"}'),
    "a byte order mark": token("\ufeff".encode() + json.dumps(claims()).encode()),
    "UTF-16": token(json.dumps(claims()).encode("utf-16")),
    "NaN": token(json.dumps(claims(exp=float("nan"))).encode()),
    "a claim twice": token(TWICE),
    "alg twice": token(header=b'{"alg":"none","alg":"RS256","kid":"RS256"}'),
    "crit": token(header={"crit": ["exp"]}),
    "crit of nothing": token(header={"crit": []}),
    "unencoded payload": token(header={"b64": False, "crit": ["b64"]}),
    "typ of a logout token": token(header={"typ": "logout+jwt"}),
    "typ of a DPoP proof": token(header={"typ": "dpop+jwt"}),
    "typ is a number": token(header={"typ": 1}),
    # for somebody else
    "other audience": token(claims(aud="other")),
    "other audiences": token(claims(aud=["other", "gateway2"])),
    "audience in part": token(claims(aud="gatewa")),
    "audience in another case": token(claims(aud="Gateway")),
    "audience of a text": token(claims(aud="other gateway")),
    "no audience": token(claims(aud=None)),
    "audience is null": token(json.dumps({**claims(), "aud": None}).encode()),
    "no audiences": token(claims(aud=[])),
    "audience is a number": token(claims(aud=1)),
    "audience is an object": token(claims(aud={"gateway": 1})),
    "audiences of other types": token(claims(aud=["gateway", 1])),
    "audiences in a list": token(claims(aud=[["gateway"]])),
    "other issuer": token(claims(iss="https://evil.example")),
    "issuer with a slash": token(claims(iss="https://issuer.example/")),
    "no issuer": token(claims(iss=None)),
    "issuer is a list": token(claims(iss=["https://issuer.example"])),
    "issuer is a number": token(claims(iss=1)),
    # at the wrong time
    "expired": token(claims(exp=NOW - 1)),
    "expired long ago": token(claims(exp=0)),
    "no exp": token(claims(exp=None)),
    "exp is text": token(claims(exp=str(NOW + 600))),
    "exp is true": token(claims(exp=True)),
    "exp is a list": token(claims(exp=[NOW + 600])),
    "exp is negative": token(claims(exp=-1)),
    "exp is huge": token(claims(exp=10**30)),
    "exp is infinite": token(json.dumps(claims()).replace(str(claims()["exp"]), "1e999").encode()),
    "exp has 5000 digits": token(json.dumps(claims(exp="@")).replace('"@"', "9" * 5000).encode()),
    "not yet valid": token(claims(nbf=NOW + 300)),
    "nbf is text": token(claims(nbf="now")),
    "issued in the future": token(claims(iat=NOW + 300)),
    "iat is an object": token(claims(iat={})),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused(new_verifier: NewVerifier, trust: Trust, server: KeyServer, name: str):
    outcome = await new_verifier()(ATTACKS[name], [trust], NOW)  # the tokens were made when the tests were collected
    assert list(outcome) == ["invalid"]
    assert all(one not in outcome["invalid"] for one in ATTACKS[name].split(".") if len(one) > 8)
    assert set(server.requests) <= {"/jwks"}  # nothing that the token names was asked for


def usual() -> dict[str, dict[str, Any]]:
    return {
        "audiences": {"payload": claims(aud=["other", "gateway"])},
        "a fraction": {"payload": claims(exp=NOW + 36_000.5, nbf=NOW - 0.5)},
        "no iat": {"payload": claims(iat=None)},
        "an access token": {"header": {"typ": "at+jwt"}},
        "an access token, spelled out": {"header": {"typ": "application/AT+JWT"}},
        "no typ": {"header": {"typ": None}},
        "other header fields": {"header": {"x5t": "abc", "jku": "https://evil.example", "nonce": "1"}},
        "much, but not too much": {"payload": claims(groups=["g" * 40] * 200)},
    }


@pytest.mark.parametrize("name", usual())
async def test_what_issuers_write(new_verifier: NewVerifier, trust: Trust, name: str):
    assert "claims" in await new_verifier()(token(**usual()[name]), [trust])


async def test_leeway_moves_each_limit(new_verifier: NewVerifier, trust: Trust):
    verify, now = new_verifier(leeway=30), time.time()
    assert "claims" in await verify(token(claims(exp=now - 29, nbf=now + 29, iat=now + 29)), [trust], now)
    for late in (claims(exp=now - 30), claims(nbf=now + 31), claims(iat=now + 31)):
        assert "invalid" in await verify(token(late), [trust], now)


async def test_a_token_that_was_valid_is_checked_again(new_verifier: NewVerifier, trust: Trust):
    verify, now = new_verifier(), time.time()
    sent = token(claims(exp=now + 600))
    for _ in range(2):
        assert "claims" in await verify(sent, [trust], now)
    assert await verify(sent, [trust], now + 600) == {"invalid": "it has expired"}
    assert "invalid" in await verify(sent, [trust._replace(audience=("another",))], now)
    assert "invalid" in await verify(sent, [trust._replace(issuer="https://another.example")], now)
    header, _, signature = sent.split(".")
    assert "invalid" in await verify(f"{header}.{part(claims(sub='eve'))}.{signature}", [trust], now)
    assert "claims" in await verify(sent, [trust], now)


async def test_a_token_that_was_valid_is_refused_once_its_key_is_replaced(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify, sent = new_verifier(), token()
    for _ in range(2):
        assert "claims" in await verify(sent, [trust])
    server.keys = {"keys": [jwk(private_key("RS256", which=1), kid="RS256")]}  # the same id
    verify.clock += 600
    assert await verify(sent, [trust]) == {"invalid": "its signature does not match"}


async def test_more_tokens_than_are_remembered(
    new_verifier: NewVerifier, trust: Trust, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("worker.core.identity.jwt._MOST_REMEMBERED", (2, 8192))
    verify = new_verifier()
    sent = [token(claims(sub=str(number)), algorithm="ES256") for number in range(5)]
    for one in (*sent, *sent):
        assert "claims" in await verify(one, [trust])


def weak(kind: str) -> tuple[Any, dict[str, Any], str]:
    """A private key, its public key as the server shows it, and the algorithm to sign with."""
    if kind == "1024 bits":
        key = rsa.generate_private_key(65537, 1024)
        return key, jwk(key, kid="weak"), "RS256"
    if kind == "secp256k1":
        key = ec.generate_private_key(ec.SECP256K1())
        return key, jwk(key, kid="weak") | {"crv": "P-256"}, "ES256"
    key = private_key("RS256", which=2)
    members = {
        "for encryption": {"use": "enc"},
        "for nothing": {"key_ops": ["wrapKey"]},
        "another algorithm": {"alg": "RS512"},
        "symmetric": {"kty": "oct", "k": b64(RSA_PEM.encode())},
        "exponent 1": {"e": "AQ"},
        "even exponent": {"e": "Ag"},
        "kid is a number": {"kid": 1},
        "no modulus": {"n": None},
        "modulus of text": {"n": "not base64!"},
    }[kind]
    return key, jwk(key, kid="weak") | members, "RS256"


@pytest.mark.parametrize(
    "kind",
    "1024 bits,secp256k1,for encryption,for nothing,another algorithm,symmetric,exponent 1,even exponent,"
    "kid is a number,no modulus,modulus of text".split(","),
)
async def test_a_key_that_must_not_be_used(new_verifier: NewVerifier, trust: Trust, server: KeyServer, kind: str):
    key, public, algorithm = weak(kind)
    server.keys = {"keys": [public, *key_set("ES384")["keys"]]}
    verify = new_verifier()
    assert "invalid" in await verify(token(key=key, algorithm=algorithm, kid="weak"), [trust])
    assert "claims" in await verify(token(algorithm="ES384"), [trust])  # the others serve


async def test_a_point_that_is_not_on_the_curve(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    server.keys = {"keys": [jwk(private_key("ES256"), kid="ES256") | {"y": b64(b"\2" * 32)}]}
    assert await new_verifier()(token(algorithm="ES256"), [trust]) == {"invalid": "its signature does not match"}


async def test_a_private_member_of_a_published_key_is_ignored(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    server.keys = {"keys": [jwk(private_key("EdDSA"), kid="EdDSA", d=b64(b"d" * 32))]}
    assert "claims" in await new_verifier()(token(algorithm="EdDSA"), [trust])


async def test_without_a_kid_the_keys_of_its_kind_are_tried(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    second = private_key("ES256", which=1)
    server.keys = {"keys": [*key_set("RS256", "ES256")["keys"], jwk(second, kid="second")]}
    verify = new_verifier()
    sent = {"header": {"kid": None}}
    assert "claims" in await verify(token(algorithm="ES256", key=second, **sent), [trust])
    assert "claims" in await verify(token(algorithm="RS256", **sent), [trust])
    assert "invalid" in await verify(token(algorithm="ES256", key=private_key("ES256", which=2), **sent), [trust])


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_a_key_in_pem(new_verifier: NewVerifier, algorithm: str):
    trust = Trust(None, None, (issuer.pem(private_key(algorithm)),))
    verify = new_verifier()
    assert "claims" in await verify(token(algorithm=algorithm, kid="any"), [trust])
    other = token(algorithm=algorithm, key=private_key(algorithm, which=1))
    assert await verify(other, [trust]) == {"invalid": "its signature does not match"}


async def test_an_issuers_token_is_checked_with_its_own_keys_only(new_verifier: NewVerifier):
    ours = Trust("https://ours.example", ("us",), (issuer.pem(private_key("ES256")),))
    theirs = Trust("https://theirs.example", ("them",), (issuer.pem(private_key("ES256", which=1)),))
    verify = new_verifier()

    async def outcome(iss: str, aud: str, which: int) -> list[str]:
        key = private_key("ES256", which=which)
        return list(await verify(token(claims(iss=iss, aud=aud), algorithm="ES256", key=key), [ours, theirs]))

    assert await outcome("https://ours.example", "us", 0) == ["claims"]
    assert await outcome("https://theirs.example", "them", 1) == ["claims"]
    assert await outcome("https://theirs.example", "them", 0) == ["invalid"]
    assert await outcome("https://ours.example", "them", 0) == ["invalid"]
    assert await outcome("https://third.example", "us", 0) == ["invalid"]
