"""What claims mean, where LiteLLM's names leave it open: types, scopes, the team's header, and who pays."""

import json
from typing import Any

import pytest

from worker.core.api.endpoints import TABLE
from worker.core.api.errors import ApiError
from worker.core.identity.authenticator import (
    NO_MODELS,
    ClaimRules,
    Identity,
    IssuerRules,
    JwtCaller,
    Team,
    check_route,
    identity,
)

RULES = ClaimRules(user_id_jwt_field="sub", team_ids_jwt_field="groups", end_user_id_jwt_field="customer")


def refused(rules: ClaimRules, claims: dict[str, Any], team: str | None = None) -> int:
    with pytest.raises(ApiError) as error:
        identity(rules, claims, team)
    return error.value.status


@pytest.mark.parametrize(
    "value", [1, 1.5, True, {}, {"a": "b"}, [], ["ada"], "a\nb", "a\0", "\ud800", "\u202eada", "a" * 256]
)
@pytest.mark.parametrize("name", ["sub", "customer"])
def test_a_claim_of_the_wrong_type_is_a_401(name: str, value: Any):
    assert refused(RULES, {"sub": "ada", name: value}) == 401


@pytest.mark.parametrize("value", [1, True, {"a": 1}, [1], [["a"]], [{}], ["a\n"], ["g"] * 101])
def test_teams_of_the_wrong_type_are_a_401(value: Any):
    assert refused(RULES, {"sub": "ada", "groups": value}) == 401


@pytest.mark.parametrize("value", [1, None, True, {}, [1], [["litellm_proxy_admin"]]])
def test_scopes_of_the_wrong_type_are_a_401(value: Any):
    assert refused(RULES, {"sub": "ada", "scope": value}) == 401


@pytest.mark.parametrize("claims", [{}, {"customer": "acme"}, {"sub": ""}, {"groups": []}, {"groups": [""]}])
def test_whoever_names_nobody_is_a_403(claims: dict[str, Any]):
    assert refused(RULES, claims) == 403


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"email": "ada@example.com"}, True),
        ({"email": "ada@EXAMPLE.com"}, True),
        ({"email": "ada@example.com", "email_verified": True}, True),
        ({"email": "ada@example.com", "email_verified": False}, False),
        ({"email": "ada@sub.example.com"}, False),
        ({"email": "ada@example.com.evil.example"}, False),
        ({"email": "ada@evilexample.com"}, False),
        ({"email": "example.com"}, False),
        ({"email": "@example.com"}, False),
        ({}, False),
    ],
)
def test_the_domain_of_the_email_address(claims: dict[str, Any], allowed: bool):
    rules = ClaimRules(user_id_jwt_field="sub", user_email_jwt_field="email", user_allowed_email_domain="example.com")
    if allowed:
        assert identity(rules, {"sub": "ada", **claims}).user_id == "ada"
    else:
        assert refused(rules, {"sub": "ada", **claims}) == 403


@pytest.mark.parametrize("verified", [False, "false"])
def test_an_address_that_may_be_another_persons_names_no_user(verified: Any):
    claims = {"email": "ada@example.com", "email_verified": verified}
    for rules in (ClaimRules(user_email_jwt_field="email"), ClaimRules(user_id_jwt_field="email")):
        assert identity(rules, {"email": "ada@example.com"}).user_id == "ada@example.com"
        assert refused(rules, claims) == 403
        assert refused(rules, {**claims, "scope": "litellm_proxy_admin"}) == 403
    assert identity(RULES, {"sub": "ada", **claims}).user_id == "ada"


def test_a_client_chooses_among_its_own_teams():
    claims = {"sub": "ada", "groups": ["a", "b"]}
    assert identity(RULES, claims, "b").teams == ("b",)
    assert refused(RULES, claims, "c") == 403
    assert refused(RULES, {"sub": "ada"}, "c") == 403


def test_a_team_is_required_if_the_config_says_so():
    assert refused(ClaimRules(user_id_jwt_field="sub", team_id_jwt_field="team"), {"sub": "ada"}) == 403
    assert refused(RULES._replace(enforce_team_based_model_access=True), {"sub": "ada"}) == 403


def test_scopes_without_models_allow_none():
    scoped = RULES._replace(scope_mappings=(("a", ("m1", "m2")), ("b", ("m3",))), enforce_scope_based_access=True)
    assert identity(scoped, {"sub": "ada", "scope": "b a"}).models == ("m1", "m2", "m3")
    assert identity(scoped, {"sub": "ada", "scope": "c"}).models == NO_MODELS
    assert identity(scoped, {"sub": "ada"}).models == NO_MODELS
    assert identity(RULES, {"sub": "ada"}).models is None


def test_rules_survive_their_way_to_the_edge():
    rules = RULES._replace(
        scope_mappings=(("a", ("m1",)),),
        role_mappings=(("x", "team"),),
        issuers=(IssuerRules("https://one.example", audience=("us",)), IssuerRules("https://two.example")),
    )
    assert ClaimRules.read(json.loads(json.dumps(rules._asdict()))) == rules


def test_whose_tokens_are_accepted():
    rules = ClaimRules(issuers=(IssuerRules("https://one.example", "https://one.example/keys", ("us",)),))
    assert [trust.keys for trust in rules.trusts({}.get)] == [("https://one.example/keys",)]
    found = rules.trusts(
        {"JWT_PUBLIC_KEY_URL": "https://a.example, https://b.example", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}.get
    )
    assert found[1] == ("i", ("a",), ("https://a.example", "https://b.example"))
    assert ClaimRules().trusts({}.get) == []


@pytest.mark.parametrize(
    ("routes", "path", "allowed"),
    [
        (("management_routes",), "/key/generate", True),
        (("management_routes",), "/chat/completions", False),
        (("openai_routes",), "/chat/completions", True),
        (("openai_routes",), "/key/generate", False),
        (("llm_api_routes",), "/messages", True),
        (("/key/generate",), "/key/generate", True),
        (("/key/*",), "/key/list", True),
        (("/key/",), "/key/list", False),
        (("/key",), "/key/list", False),
        ((), "/key/list", False),
    ],
)
def test_the_routes_of_an_operator(routes: tuple[str, ...], path: str, allowed: bool):
    rules = RULES._replace(admin_allowed_routes=routes)
    operator = Identity(admin=True)
    if allowed:
        check_route(rules, operator, TABLE[path], path)
    else:
        with pytest.raises(ApiError, match="path"):
            check_route(rules, operator, TABLE[path], path)


def test_every_endpoint_of_the_admin_api_is_in_a_group_of_operators_only():
    default = set(ClaimRules().admin_allowed_routes)
    for path, endpoint in TABLE.items():
        if endpoint.admin:
            check_route(RULES, Identity(admin=True), endpoint, path)
        elif endpoint.billable:
            with pytest.raises(ApiError):
                check_route(RULES, Identity(admin=True), endpoint, path)
    assert default


def test_who_has_rights_in_the_admin_api():
    """A key that a token made would not have the limit of its scopes."""
    assert JwtCaller("ada", teams=(Team("blue", "[]"),)).credential == {
        "person": {"user_id": "ada", "role": "", "teams": ["blue"]}
    }
    for scoped in (("small",), ()):
        credential = JwtCaller("ada", scoped=scoped).credential
        assert credential is not None
        assert credential["person"]["role"] == "internal_user_viewer"
    assert JwtCaller("", teams=(Team("blue", "[]"),)).credential is None


def test_who_pays_and_for_which_models():
    teams = (Team("a", '["small"]'), Team("b", '["small", "large*"]'))
    caller = JwtCaller("ada", teams=teams, own='["never"]')
    assert caller.payer("small") == ("a", '["small"]')
    assert caller.payer("large-2") == ("b", '["small", "large*"]')
    assert caller.payer("other")[0] == "a"
    assert JwtCaller("ada", own='["own"]').payer("own") == ("", '["own"]')
    scoped = JwtCaller("ada", teams=teams, scoped=("large-1", "other"))
    assert scoped.payer("large-1") == ("b", '["large-1"]')
    assert json.loads(scoped.payer("small")[1]) == list(NO_MODELS)
    assert json.loads(scoped.models) == ["large-1"]
    assert JwtCaller("ada", teams=(Team("a", "[]"), *teams)).models == "[]"


def test_nobody_shares_an_owner():
    owners = [
        JwtCaller("ada").owner,
        JwtCaller("eve").owner,
        JwtCaller("", teams=(Team("ada", "[]"),)).owner,
        JwtCaller("", teams=(Team("eve", "[]"),)).owner,
        JwtCaller('ada", "x').owner,
        JwtCaller("", administrator=True).owner,
    ]
    assert len(set(owners)) == len(owners)
    assert JwtCaller("ada", teams=(Team("x", "[]"),)).owner == owners[0]
