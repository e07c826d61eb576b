"""When public keys are fetched, how long they serve, and what happens while the issuer's server is down."""

import asyncio

import pytest

from worker.core.identity import jwt
from worker.core.identity.jwt import Trust

from . import issuer
from .conftest import NewVerifier
from .doors import Alone
from .issuer import jwk, key_set, private_key, token
from .key_server import KeyServer

TTL, STALE = 600.0, 3600.0


def rotated(server: KeyServer) -> str:
    """Replaces the server's keys. Returns a token of the new one."""
    new = private_key("ES256", which=7)
    server.keys = {"keys": [jwk(new, kid="new")]}
    return token(algorithm="ES256", key=new, kid="new")


async def test_keys_are_fetched_once(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    verify = new_verifier()
    for _ in range(3):
        assert "claims" in await verify(token(), [trust])
    assert len(server.requests) == 1


async def test_concurrent_first_requests_share_a_fetch(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    verify, server.delay = new_verifier(), 0.3
    outcomes = await asyncio.gather(*(verify(token(), [trust]) for _ in range(8)))
    assert all("claims" in outcome for outcome in outcomes)
    assert len(server.requests) == 1


async def test_an_unknown_kid_fetches_the_keys_once_in_a_while(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify = new_verifier()
    await verify(token(), [trust])
    verify.clock += jwt.UNKNOWN_KEY_PAUSE
    new = rotated(server)
    assert "claims" in await verify(new, [trust])
    assert "invalid" in await verify(token(), [trust])  # its key is gone
    for number in range(5):
        assert "invalid" in await verify(token(kid=f"guess-{number}"), [trust])
    assert len(server.requests) == 2
    verify.clock += jwt.UNKNOWN_KEY_PAUSE
    assert "invalid" in await verify(token(kid="guess"), [trust])
    assert len(server.requests) == 3


async def test_concurrent_requests_with_a_new_key_share_a_fetch(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify = new_verifier()
    await verify(token(), [trust])
    verify.clock += jwt.UNKNOWN_KEY_PAUSE
    new, server.delay = rotated(server), 0.3
    outcomes = await asyncio.gather(*(verify(new, [trust]) for _ in range(8)))
    assert all("claims" in outcome for outcome in outcomes)
    assert len(server.requests) == 2


async def test_keys_are_renewed_before_they_are_old_without_waiting(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify = new_verifier()
    await verify(token(), [trust])
    rotated(server)
    verify.clock += TTL * 0.8
    assert "claims" in await verify(token(), [trust])  # with the old keys
    for _ in range(100):
        if len(server.requests) == 2 and "invalid" in await verify(token(), [trust]):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the keys were not renewed")


async def test_a_revoked_key_serves_no_longer_than_its_time(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    verify = new_verifier()
    await verify(token(), [trust])
    rotated(server)
    verify.clock += TTL
    assert "invalid" in await verify(token(), [trust])


async def test_known_keys_serve_while_the_server_is_down_but_not_for_ever(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify = new_verifier()
    await verify(token(), [trust])
    server.status = 500
    verify.clock += TTL
    assert "claims" in await verify(token(), [trust])
    verify.clock += STALE - 1
    assert "claims" in await verify(token(), [trust])
    verify.clock += 1
    assert "unavailable" in await verify(token(), [trust])
    server.status = 200
    verify.clock += jwt.FAILURE_PAUSE
    assert "claims" in await verify(token(), [trust])


async def test_a_server_that_is_down_is_not_asked_by_every_request(
    new_verifier: NewVerifier, trust: Trust, server: KeyServer
):
    verify, server.status = new_verifier(), 503
    for _ in range(5):
        assert "unavailable" in await verify(token(), [trust])
    assert len(server.requests) == 1
    verify.clock += jwt.FAILURE_PAUSE
    assert "unavailable" in await verify(token(), [trust])
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[1",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": 1}',
        b"null",
        b"[" * 3000,
        b'{"keys":[' + b" " * 600_000,
    ],
    ids=["nothing", "html", "half", "no keys", "an object", "a number", "null", "deep", "huge"],
)
async def test_an_answer_that_is_no_key_set(new_verifier: NewVerifier, trust: Trust, server: KeyServer, answer: bytes):
    server.keys = answer
    assert list(await new_verifier()(token(), [trust])) == ["unavailable"]


async def test_a_redirect_is_not_followed(new_verifier: NewVerifier, trust: Trust, server: KeyServer):
    server.status = 302
    assert list(await new_verifier()(token(), [trust])) == ["unavailable"]
    assert len(server.requests) == 1


async def test_a_server_that_cannot_be_reached(new_verifier: NewVerifier, server: KeyServer):
    server.close()
    trust = Trust(issuer.ISSUER, None, (server.url,))
    assert list(await new_verifier()(token(), [trust])) == ["unavailable"]


async def test_the_key_set_that_a_discovery_document_names(new_verifier: NewVerifier, server: KeyServer):
    server.documents["/.well-known/openid-configuration"] = {"issuer": server.address, "jwks_uri": server.url}
    sent = token(issuer.claims(iss=server.address))
    verify = new_verifier()
    assert "claims" in await verify(sent, [Trust(server.address, None)])
    assert "claims" in await verify(sent, [Trust(None, None, (f"{server.address}/.well-known/openid-configuration",))])
    assert server.requests == ["/.well-known/openid-configuration", "/jwks"]


@pytest.mark.parametrize("address", [None, 1, "", "file:///etc/passwd", "ftp://127.0.0.1/", ["http://127.0.0.1"]])
async def test_a_discovery_document_without_a_usable_address(
    new_verifier: NewVerifier, server: KeyServer, address: object
):
    server.documents["/.well-known/openid-configuration"] = {"jwks_uri": address}
    assert list(await new_verifier()(token(), [Trust(issuer.ISSUER, None), Trust(server.address, None)])) != ["claims"]
    sent = token(issuer.claims(iss=server.address))
    assert list(await new_verifier()(sent, [Trust(server.address, None)])) == ["unavailable"]


async def test_the_key_may_be_at_any_of_several_addresses(new_verifier: NewVerifier, server: KeyServer):
    server.documents = {"/one": key_set("ES256"), "/two": key_set("RS256")}
    trust = Trust(issuer.ISSUER, None, (f"{server.address}/one", f"{server.address}/two"))
    verify = new_verifier()
    assert "claims" in await verify(token(), [trust])
    assert "claims" in await verify(token(algorithm="ES256"), [trust])


async def test_one_address_that_is_down_does_not_hide_the_others(new_verifier: NewVerifier, server: KeyServer):
    server.documents = {"/one": b"down", "/two": key_set("RS256")}
    trust = Trust(issuer.ISSUER, None, (f"{server.address}/one", f"{server.address}/two"))
    verify = new_verifier()
    assert "claims" in await verify(token(), [trust])
    # Whether the first has the key nobody knows.
    assert "unavailable" in await verify(token(algorithm="ES256"), [trust])


async def test_a_client_that_leaves_during_the_fetch_does_not_stop_the_next(trust: Trust, server: KeyServer):
    verify, server.delay = Alone(), 0.3
    first = asyncio.create_task(verify(token(), [trust]))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(verify(token(), [trust]))
    await asyncio.sleep(0.05)
    first.cancel()
    assert "claims" in await second
    await verify.close()
