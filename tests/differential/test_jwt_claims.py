"""LiteLLM as the oracle for what the claims of a JWT mean, and for the groups of routes."""

import asyncio
import itertools
import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from container.config.load import load
from tests.container.conftest import load_config
from worker.core.api import endpoints
from worker.core.api.errors import ApiError
from worker.core.identity import authenticator as ours
from worker.core.identity.authenticator import ClaimRules, Identity

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

__all__ = ["load", "load_config"]

RULES: Mapping[str, Mapping[str, Any]] = {
    "user": {"user_id_jwt_field": "sub"},
    "nested": {"user_id_jwt_field": "who.id", "team_ids_jwt_field": "resource_access.gateway.roles"},
    "dots in names": {"user_id_jwt_field": "https://example\\.com/id"},
    "metadata": {"user_id_jwt_field": "metadata.who.id"},
    "email": {"user_email_jwt_field": "email", "user_allowed_email_domain": "example.com"},
    "email and user": {"user_id_jwt_field": "sub", "user_email_jwt_field": "email"},
    "team": {"user_id_jwt_field": "sub", "team_id_jwt_field": "team"},
    "team by default": {"team_id_jwt_field": "team", "team_id_default": "everyone"},
    "only a default team": {"user_id_jwt_field": "sub", "team_id_default": "everyone"},
    "team by name": {"user_id_jwt_field": "sub", "team_alias_jwt_field": "within.name"},
    "team by name or id": {
        "user_id_jwt_field": "sub",
        "team_alias_jwt_field": "squad",
        "team_id_jwt_field": "team",
        "team_ids_jwt_field": "groups",
        "team_id_default": "everyone",
    },
    "teams": {"user_id_jwt_field": "sub", "team_ids_jwt_field": "groups"},
    "team and teams": {"team_id_jwt_field": "team", "team_ids_jwt_field": "groups", "user_id_jwt_field": "sub"},
    "end user": {"user_id_jwt_field": "sub", "end_user_id_jwt_field": "customer"},
    "operators": {"user_id_jwt_field": "sub", "admin_jwt_scope": "admin:all"},
    "roles": {
        "roles_jwt_field": "roles",
        "role_mappings": [
            {"role": "Team", "internal_role": "team"},
            {"role": "User", "internal_role": "internal_user"},
        ],
        "object_id_jwt_field": "oid",
    },
    "allowed roles": {
        "user_id_jwt_field": "sub",
        "user_roles_jwt_field": "roles",
        "user_allowed_roles": ["User"],
        "enforce_rbac": True,
    },
    "of an issuer": {
        "user_id_jwt_field": "sub",
        "issuers": [
            {
                "issuer": "https://issuer.example",
                "audience": "gateway",
                "user_id_jwt_field": "oid",
                "team_ids_jwt_field": "roles",
            }
        ],
    },
}
CLAIMS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "user": {"sub": "ada"},
    "null user": {"sub": None, "email": "ada@example.com"},
    "email": {"email": "ada@example.com"},
    "other email": {"sub": "ada", "email": "ada@evil.example"},
    "nested": {"who": {"id": "ada"}, "resource_access": {"gateway": {"roles": ["a", "b"]}}},
    "nested in a text": {"who": "ada", "resource_access": {"gateway": "roles"}},
    "dots in names": {"https://example.com/id": "ada"},
    "team": {"sub": "ada", "team": "blue"},
    "team in a list": {"sub": "ada", "team": ["blue", "red"]},
    "no team in a list": {"sub": "ada", "team": []},
    "null team": {"sub": "ada", "team": None},
    "a team's name": {"sub": "ada", "squad": "Blue"},
    "a team's name within": {"sub": "ada", "within": {"name": "Blue"}},
    "no team's name": {"sub": "ada", "squad": None},
    "a team's name and its id": {"sub": "ada", "squad": "Blue", "team": "red"},
    "a team's name and teams": {"sub": "ada", "squad": "Blue", "groups": ["a"]},
    "teams": {"sub": "ada", "groups": ["a", "b", "a"]},
    "no teams": {"sub": "ada", "groups": []},
    "everything": {"sub": "ada", "team": "blue", "groups": ["a"], "customer": "acme", "email": "ada@example.com"},
    "operator": {"sub": "ada", "scope": "read admin:all litellm_proxy_admin"},
    "operator in a list": {"sub": "ada", "scope": ["admin:all", "litellm_proxy_admin"]},
    "part of a scope": {"sub": "ada", "scope": "xlitellm_proxy_admin admin:all2"},
    "a team's role": {"roles": ["Team"], "oid": "blue"},
    "a user's role": {"roles": ["Other", "User"], "oid": "ada"},
    "both roles": {"roles": ["User", "Team"], "oid": "both"},
    "another role": {"roles": ["Other"], "oid": "ada"},
    "user and role": {"sub": "ada", "roles": ["Team"], "oid": "blue"},
    "issuer": {"iss": "https://issuer.example", "sub": "ada", "oid": "oscar", "roles": ["a"]},
    "issuer without its claims": {"iss": "https://issuer.example", "sub": "ada"},
}


def handler(rules: Mapping[str, Any]) -> Any:
    from litellm.proxy._types import LiteLLM_JWTAuth
    from litellm.proxy.auth.handle_jwt import JWTHandler

    found = JWTHandler()
    found.litellm_jwtauth = LiteLLM_JWTAuth(**rules)
    return found


def theirs(handler: Any, claims: Mapping[str, Any]) -> dict[str, Any]:
    """What LiteLLM's `authorize_jwt` works out before it asks its database."""
    issuer = handler.litellm_jwtauth.get_issuer_config(claims.get("iss"))
    token = handler._apply_issuer_claim_mappings(dict(claims), issuer) if issuer else dict(claims)
    role = handler.get_rbac_role(token=token)
    email = handler.get_user_email(token=token, default_value=None)
    user = handler.get_user_id(token=token, default_value=email)
    team = handler.get_team_id(token=token, default_value=None)
    id = handler.get_object_id(token=token, default_value=None)
    if role and id and role.value == "team":
        team = id
    elif role and id and role.value == "internal_user":
        user = id
    if handler.litellm_jwtauth.team_alias_jwt_field is not None:
        team = _team_by_name_or_id(handler, token)
    wrong_domain = handler.is_enforced_email_domain() and not (email and handler.is_allowed_domain(email))
    return {
        "user_id": user or "",
        "teams": [team] if team else list(dict.fromkeys(handler.get_team_ids_from_jwt(token))),
        "end_user": handler.get_end_user_id(token=token, default_value=None) or "",
        "admin": handler.is_admin(handler.get_scopes(token=token)),
        "refused": bool(wrong_domain)
        or (handler.litellm_jwtauth.enforce_rbac and role is None)
        or (not team and handler.is_required_team_id()),
    }


def _team_by_name_or_id(handler: Any, token: dict[str, Any]) -> str | None:
    """What LiteLLM finds if every team exists, and the one called X has the id X!. None if it refuses the token."""
    from litellm.proxy.auth import handle_jwt

    async def by_id(*_: Any, team_id: str, **__: Any) -> Any:
        return SimpleNamespace(team_id=team_id)

    async def by_alias(*_: Any, team_alias: str, **__: Any) -> Any:
        return SimpleNamespace(team_id=f"{team_alias}!")

    arguments = dict.fromkeys(("prisma_client", "user_api_key_cache", "parent_otel_span", "proxy_logging_obj"))
    find = handle_jwt.JWTAuthManager.find_and_validate_specific_team_id
    with (
        patch.object(handle_jwt, "get_team_object", by_id),
        patch.object(handle_jwt, "get_team_object_by_alias", by_alias),
    ):
        try:
            team, _ = asyncio.run(find(handler, token, **cast(Any, arguments)))
        except Exception as error:  # LiteLLM raises nothing more special
            if "No team found in token" not in str(error):
                raise
            return None
    return team


@pytest.fixture
def rules(load_config: Any) -> Any:
    def read(rules: Mapping[str, Any]) -> ClaimRules:
        model = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
        general = {"enable_jwt_auth": True, "litellm_jwtauth": dict(rules)}
        config = load_config({"model_list": [model], "general_settings": general})
        assert config.options.jwt_auth is not None
        return config.options.jwt_auth

    return read


@pytest.mark.parametrize("name", RULES)
def test_claims_mean_what_they_mean_to_litellm(rules: Any, name: str):
    own, their = rules(RULES[name]), handler(RULES[name])
    for what, claims in CLAIMS.items():
        expected = theirs(their, claims)
        nobody = not (expected["user_id"] or expected["teams"])
        found = _or_refused(own, claims)
        if found is None:
            # Somebody whom nothing names is refused here, although LiteLLM lets them in.
            assert not expected["admin"], what
            assert expected["refused"] or nobody, what
            continue
        assert found.admin == expected["admin"], what
        assert found.user_id == expected["user_id"], what
        assert found.end_user == expected["end_user"], what
        if not found.admin:
            assert not expected["refused"], what
            by_name = [f"{found.team_alias}!"] if found.team_alias else []
            assert [*found.teams, *by_name] == expected["teams"], what


def test_every_rule_and_every_claim_tells_something(rules: Any):
    found = {
        (name, what): _or_refused(rules(RULES[name]), CLAIMS[what]) for name, what in itertools.product(RULES, CLAIMS)
    }
    for name in RULES:
        assert len({found[name, what] for what in CLAIMS}) > 1, name
    for what in CLAIMS:
        assert len({found[name, what] for name in RULES}) > 1 or what == "none", what


def _or_refused(rules: ClaimRules, claims: Mapping[str, Any]) -> Identity | None:
    try:
        return ours.identity(rules, claims)
    except ApiError as error:
        if error.status != 403:
            raise
        return None


def test_an_unknown_setting_is_refused_by_both(load_config: Any):
    from litellm.proxy._types import LiteLLM_JWTAuth

    from container.config import jwt_auth

    known = {*jwt_auth._RULES, *jwt_auth._LOST, *jwt_auth._WITHOUT_EFFECT} - {"jwt_client_id_field", "team_jwt_scope"}
    assert known == set(LiteLLM_JWTAuth.model_fields)
    assert ClaimRules().admin_allowed_routes == tuple(LiteLLM_JWTAuth().admin_allowed_routes)
    assert ClaimRules().admin_jwt_scope == LiteLLM_JWTAuth().admin_jwt_scope
    assert ClaimRules().public_key_ttl == LiteLLM_JWTAuth().public_key_ttl
    assert ClaimRules().public_key_stale_ttl == LiteLLM_JWTAuth().public_key_stale_ttl
    with pytest.raises(ValueError, match="user_id_field"):
        LiteLLM_JWTAuth(user_id_field="sub")


def test_endpoints_are_in_litellms_groups():
    from litellm.proxy._types import LiteLLMRoutes
    from starlette.routing import compile_path

    names = "openai_routes anthropic_routes google_routes info_routes management_routes".split()
    names += ["spend_tracking_routes", "global_spend_tracking_routes", "llm_api_routes"]
    groups = {name: [compile_path(path)[0] for path in LiteLLMRoutes[name].value] for name in names}
    compared = 0
    for endpoint in endpoints.ALL:
        paths = [endpoint.path.replace("{key}", "x").replace("{id}", "x"), "/v1" + endpoint.path.replace("{id}", "x")]
        their = {name for name, known in groups.items() if any(one.match(path) for one in known for path in paths)}
        if not their or endpoint.public:
            continue
        compared += 1
        assert ours.groups_of(endpoint) >= their - {"info_routes"}, endpoint.path
        # Nothing of the admin API is in a group of models.
        assert not endpoint.admin or ours.groups_of(endpoint) & {"llm_api_routes"} <= their, endpoint.path
    assert compared > 30
