"""A JWT is neither a key nor the master key, whatever else is configured."""

from types import SimpleNamespace
from typing import Any

import pytest

from container.accounting.accounting import _payer
from container.routing.router import RouteRequest
from container.server.auth import Authenticator
from container.server.settings import read
from worker.core.api.auth import AuthorizedRequest, Rules, admit
from worker.core.api.endpoints import TABLE
from worker.core.api.errors import ApiError
from worker.core.identity.authenticator import JwtCaller, Team

from .issuer import token

CHAT = TABLE["/chat/completions"]


def at_the_edge(given: str, *, master_key: str = "sk-master", jwts: bool = True) -> AuthorizedRequest:
    rules = Rules(master_key, local=False, public_models=False, max_body_mb=1, jwts=jwts)
    return admit("POST", "/v1/chat/completions", {"authorization": f"Bearer {given}"}.get, rules)


def alone(given: str | None, *, master_key: str | None = "sk-master", jwts: bool = True) -> Any:
    context: Any = SimpleNamespace(
        header=lambda name: f"Bearer {given}" if given and name == "authorization" else None,
        key_hash=None,
        token=None,
        administrator=False,
    )
    settings = read({"LITELLM_HOST": "127.0.0.1"})
    Authenticator(settings, master_key, (), virtual_keys=True, jwts=jwts).check(context, CHAT)
    return context


def test_a_token_waits_to_be_verified():
    sent = token()
    assert at_the_edge(sent) == AuthorizedRequest(CHAT, token=sent)
    context = alone(sent)
    assert (context.token, context.key_hash, context.administrator) == (sent, None, False)


def test_without_jwts_a_token_is_a_wrong_key():
    for door in (at_the_edge, alone):
        with pytest.raises(ApiError) as error:
            door(token(), jwts=False)
        assert error.value.status == 401


@pytest.mark.parametrize("master_key", ["a.b.c", "a.b.c.d.e", token()])
def test_a_master_key_with_the_form_of_a_token_stays_one(master_key: str):
    assert at_the_edge(master_key, master_key=master_key) == AuthorizedRequest(CHAT)
    assert alone(master_key, master_key=master_key).administrator


def test_a_virtual_key_with_dots_stays_one():
    assert at_the_edge("sk-a.b.c") == AuthorizedRequest(CHAT, "sk-a.b.c")
    assert alone("sk-a.b.c").key_hash


@pytest.mark.parametrize("given", [None, "", "..", "sk-x", "anything"])
def test_without_a_master_key_nobody_is_let_in(given: str | None):
    with pytest.raises(ApiError) as error:
        alone(given, master_key=None)
    assert error.value.status == 503


def test_a_token_that_nobody_has_verified_pays_for_nothing():
    route = RouteRequest("m")
    for token_, caller in (("x.y.z", None), (None, JwtCaller()), ("x.y.z", JwtCaller("ada"))):
        context: Any = SimpleNamespace(token=token_, caller=caller, models="[]")
        with pytest.raises(ApiError) as error:
            _payer(context, route)
        assert error.value.status == 401


def test_the_team_and_its_models_follow_the_requests_model():
    context: Any = SimpleNamespace(
        token=None, models="[]", caller=JwtCaller("ada", "acme", teams=(Team("a", '["x"]'), Team("b", '["m"]')))
    )
    route = RouteRequest("m")
    assert _payer(context, route) == ("ada", "b", "acme")
    assert context.models == '["m"]'
