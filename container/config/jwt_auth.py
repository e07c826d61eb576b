"""Parses `general_settings.litellm_jwtauth`: what the claims of JWTs mean. https://docs.litellm.ai/docs/proxy/token_auth

A setting that is misread could let somebody in, so everything that cannot be read is an error.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from worker.core.identity import jwt
from worker.core.identity.authenticator import ROLES, ClaimRules, IssuerRules

from . import option_values as read
from .document import Document, KeyPath, did_you_mean

_MOST_SECONDS = 30 * 86400.0
# LiteLLM's settings that keep somebody out, or limit somebody, in a way that does not exist here.
_LOST = {
    "custom_validate": "checks each token by code of yours; here it would not run.",
    "virtual_key_claim_field": "gives each token the limits of a virtual key; here there would be none.",
    "jwt_client_id_field": "gives each token the limits of a virtual key; here there would be none.",
    "agent_id_jwt_field": "refuses agents that are not registered; here they would be accepted.",
}
# Those without which a token can do less, or the same.
_WITHOUT_EFFECT = (
    "auto_register_map_existing_key",
    "fallback_to_db_teams",
    "jwt_litellm_role_map",
    "mcp_client_id_jwt_field",
    "oidc_userinfo_cache_ttl",
    "oidc_userinfo_enabled",
    "oidc_userinfo_endpoint",
    "org_alias_jwt_field",
    "org_id_jwt_field",
    "public_allowed_routes",
    "routing_overrides",
    "sync_user_role_and_teams",
    "team_claim_fallback",
    "team_jwt_scope",
    "unregistered_jwt_client_behavior",
    "upsert_sso_user_to_team",
    "virtual_key_mapping_cache_ttl",
)


def parse(document: Document, path: KeyPath, value: Any) -> ClaimRules:
    """Reports problems to `document`."""
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping of LiteLLM's settings, such as `user_id_jwt_field: sub`.")
        return ClaimRules()
    rules = ClaimRules(**_fields(document, path, value, _RULES))
    if (rules.user_roles_jwt_field is None) != (rules.user_allowed_roles is None):
        document.error(path, "needs both user_roles_jwt_field and user_allowed_roles, or neither.")
    if rules.object_id_jwt_field is not None and not rules.role_mappings:
        document.error((*path, "object_id_jwt_field"), "needs role_mappings: they say whether it is a user or a team.")
    if rules.scope_mappings and not rules.enforce_scope_based_access:
        document.error((*path, "scope_mappings"), "needs enforce_scope_based_access: true.")
    return rules


def report_unscoped(document: Document, path: KeyPath, rules: ClaimRules, environment: Mapping[str, str]) -> None:
    """Warns if tokens for other applications of the same issuer would be accepted, tokens of other issuers with the
    same keys, as the tenants of a cloud have them, or none at all."""
    trusts = rules.trusts(environment.get)
    for address in dict.fromkeys(address for trust in trusts for address in trust.keys or (trust.issuer or "",)):
        if not jwt.is_pem(address) and _is_unencrypted(address):
            message = f"{address} is not encrypted: whoever can change the keys on the way can sign tokens."
            document.report("warning", path, message, "Use an https:// address.")
    if not trusts:
        mend = "Set JWT_PUBLIC_KEY_URL, or `issuers` in litellm_jwtauth."
        document.report("warning", path, "is on, and no public key is known: every JWT is refused.", mend)
    elif len(trusts) > len(rules.issuers):  # those of `issuers` say themselves whom they trust
        general = trusts[-1]
        if general.audience is None:
            message = "accepts every token that the issuer has made, for whatever application."
            document.report("warning", path, message, "Set JWT_AUDIENCE to this gateway's name there.")
        if general.issuer is None and not all(map(jwt.is_pem, general.keys)):
            message = "accepts the tokens of every issuer with these public keys, such as other tenants."
            document.report("warning", path, message, "Set JWT_ISSUER to the `iss` of your tokens.")


def _is_unencrypted(address: str) -> bool:
    """Whether what is fetched from there passes a network in plain text."""
    try:
        parts = urlsplit(address)
        if parts.scheme != "http" or parts.hostname == "localhost":
            return False
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name
        return address.startswith("http://")


def _fields(document: Document, path: KeyPath, value: Mapping[Any, Any], readers: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, one in value.items():
        at = (*path, name)
        if one is None:
            continue
        if name in readers:
            given = readers[name](document, at, one)
            if given is not None:
                found[name] = given
        elif name in _LOST:
            document.error(at, _LOST[name], "Remove it.")
        elif name in _WITHOUT_EFFECT:
            document.report("warning", at, "is a setting of LiteLLM that has no effect here.")
        else:
            document.error(at, "is not a setting of litellm_jwtauth.", did_you_mean(str(name), readers))
    return found


def _text(document: Document, path: KeyPath, value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value
    document.error(path, "has to be a text.")
    return None


def _texts(document: Document, path: KeyPath, value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    document.error(path, "has to be a list of texts.")
    return None


def _flag(document: Document, path: KeyPath, value: Any) -> bool:
    return read.flag(document, path, value, strict=True)


def _seconds(document: Document, path: KeyPath, value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if isinstance(value, bool) or not 0 <= found <= _MOST_SECONDS:
        document.error(path, f"has to be a number of seconds from 0 to {_MOST_SECONDS:.0f}.")
        return None
    return found


def _roles(document: Document, path: KeyPath, value: Any) -> tuple[tuple[str, str], ...] | None:
    found = [_pair(one, "role", "internal_role") for one in value] if isinstance(value, list) else [None]
    if any(one is None or one[1] not in ROLES for one in found):
        document.error(path, f"has to be a list of `role` and `internal_role`, which is {', '.join(ROLES)}.")
        return None
    return tuple(one for one in found if one)


def _pair(entry: Any, first: str, second: str) -> tuple[str, str] | None:
    if not isinstance(entry, dict) or set(entry) != {first, second}:
        return None
    one, other = entry[first], entry[second]
    return (one, other) if isinstance(one, str) and isinstance(other, str) else None


def _scopes(document: Document, path: KeyPath, value: Any) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    found: list[tuple[str, tuple[str, ...]]] = []
    for entry in value if isinstance(value, list) else [None]:
        given = entry if isinstance(entry, dict) else {}
        scope, models = given.get("scope"), given.get("models")
        if not isinstance(scope, str) or not isinstance(models, list) or not all(isinstance(m, str) for m in models):
            document.error(path, "has to be a list of `scope` and `models`, a list of names.")
            return None
        if given.get("routes"):
            document.error(path, "limits a scope to `routes`, which has no effect here.", "Remove them.")
        found.append((scope, tuple(models)))
    return tuple(found)


def _audience(document: Document, path: KeyPath, value: Any) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) and value else _texts(document, path, value)


def _issuers(document: Document, path: KeyPath, value: Any) -> tuple[IssuerRules, ...] | None:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        document.error(path, "has to be a list of issuers.", "Begin each with `- issuer: https://…`.")
        return None
    return tuple(one for index, entry in enumerate(value) if (one := _issuer(document, (*path, index), entry)))


def _issuer(document: Document, path: KeyPath, entry: Mapping[str, Any]) -> IssuerRules | None:
    fields = _fields(document, path, entry, _ISSUER)
    unchecked = fields.pop("disable_audience_validation", False)
    if "issuer" not in fields:
        document.error(path, "needs the `issuer`, as its tokens write it (iss).")
        return None
    if not fields.get("audience") and not unchecked:
        document.error(path, "needs an `audience`, or `disable_audience_validation: true`.")
    if unchecked:
        fields.pop("audience", None)
    return IssuerRules(**fields)


def _url(document: Document, path: KeyPath, value: Any) -> str | None:
    if isinstance(value, str) and value.startswith(("https://", "http://")):
        return value
    document.error(path, "has to be an http(s) address.")
    return None


Read = Callable[[Document, KeyPath, Any], Any]
_OF_AN_ISSUER = (
    "user_id_jwt_field",
    "user_email_jwt_field",
    "team_id_jwt_field",
    "team_ids_jwt_field",
    "end_user_id_jwt_field",
)
_ISSUER: dict[str, Read] = {
    "issuer": _text,
    "jwks_url": _url,
    "audience": _audience,
    "disable_audience_validation": _flag,
    **dict.fromkeys(_OF_AN_ISSUER, _text),
}
_RULES: dict[str, Read] = {
    **dict.fromkeys(
        (
            "admin_jwt_scope",
            *_OF_AN_ISSUER,
            "user_allowed_email_domain",
            "user_roles_jwt_field",
            "team_id_default",
            "team_alias_jwt_field",
            "roles_jwt_field",
            "object_id_jwt_field",
        ),
        _text,
    ),
    **dict.fromkeys(
        (
            "user_id_upsert",
            "team_id_upsert",
            "enforce_team_based_model_access",
            "enforce_scope_based_access",
            "enforce_rbac",
        ),
        _flag,
    ),
    **dict.fromkeys(("admin_allowed_routes", "user_allowed_roles", "team_allowed_routes"), _texts),
    **dict.fromkeys(("public_key_ttl", "public_key_stale_ttl"), _seconds),
    "role_mappings": _roles,
    "scope_mappings": _scopes,
    "issuers": _issuers,
}
