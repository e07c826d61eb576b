"""`enable_jwt_auth` and `litellm_jwtauth`: what is read, what stops the start, and what is warned about."""

import pytest

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
KEYS = {"JWT_PUBLIC_KEY_URL": "https://issuer.example/keys"}
SCOPED = {**KEYS, "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"}


def written(rules, **general):
    return {"model_list": [MODEL], "general_settings": {"enable_jwt_auth": True, "litellm_jwtauth": rules, **general}}


def test_off_unless_it_is_enabled(load_config):
    config = load_config({"model_list": [MODEL], "general_settings": {"litellm_jwtauth": {"user_id_jwt_field": "sub"}}})
    assert config.options.jwt_auth is None
    assert ["enable_jwt_auth" in str(problem) for problem in config.problems] == [True]
    assert (
        load_config({"model_list": [MODEL], "general_settings": {"enable_jwt_auth": "false"}}).options.jwt_auth is None
    )


def test_all_of_it(load_config):
    rules = {
        "user_id_jwt_field": "sub",
        "team_ids_jwt_field": "groups",
        "user_id_upsert": "true",
        "public_key_ttl": "60",
        "scope_mappings": [{"scope": "s", "models": ["m"]}],
        "enforce_scope_based_access": True,
        "role_mappings": [{"role": "r", "internal_role": "team"}],
        "admin_allowed_routes": ["info_routes"],
        "team_id_default": None,
        "issuers": [{"issuer": "https://one.example", "audience": ["a", "b"], "user_id_jwt_field": "oid"}],
    }
    config = load_config(written(rules), SCOPED)
    found = config.options.jwt_auth
    assert config.problems == ()
    assert (found.user_id_upsert, found.public_key_ttl, found.team_id_default) == (True, 60.0, None)
    assert found.scope_mappings == (("s", ("m",)),)
    assert found.role_mappings == (("r", "team"),)
    assert found.issuers[0].audience == ("a", "b")
    assert config.options.needs_ledger


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ([], ""),
        ("sub", ""),
        ({"user_id_field": "sub"}, ".user_id_field"),
        ({"user_id_jwt_field": 1}, ".user_id_jwt_field"),
        ({"user_id_jwt_field": ""}, ".user_id_jwt_field"),
        ({"user_id_upsert": "perhaps"}, ".user_id_upsert"),
        ({"admin_jwt_scope": ""}, ".admin_jwt_scope"),
        ({"admin_allowed_routes": "info_routes"}, ".admin_allowed_routes"),
        ({"public_key_ttl": "soon"}, ".public_key_ttl"),
        ({"public_key_ttl": -1}, ".public_key_ttl"),
        ({"public_key_ttl": float("nan")}, ".public_key_ttl"),
        ({"scope_mappings": [{"scope": "a", "models": ["m"]}]}, ".scope_mappings"),
        ({"scope_mappings": [{"scope": "a"}], "enforce_scope_based_access": True}, ".scope_mappings"),
        ({"role_mappings": [{"role": "a", "internal_role": "boss"}]}, ".role_mappings"),
        ({"object_id_jwt_field": "oid"}, ".object_id_jwt_field"),
        ({"user_roles_jwt_field": "roles"}, ""),
        ({"custom_validate": "mine.check"}, ".custom_validate"),
        ({"virtual_key_claim_field": "sub"}, ".virtual_key_claim_field"),
        ({"issuers": [{"issuer": "https://one.example"}]}, ".issuers[0]"),
        ({"issuers": [{"audience": "a"}]}, ".issuers[0]"),
        ({"issuers": [{"issuer": "i", "audience": "a", "jwks_url": "file:///x"}]}, ".issuers[0].jwks_url"),
        ({"issuers": {"issuer": "i"}}, ".issuers"),
        ({"user_allowed_email_domain": "os.environ/DOMAIN"}, ""),
    ],
)
def test_what_cannot_be_read_stops_the_start(complaints, rules, where):
    said = complaints(written(rules))
    assert any(f": general_settings.litellm_jwtauth{where}: error: " in one for one in said), said


def test_limits_of_roles_stop_the_start(complaints):
    [said] = complaints(written({}, role_permissions=[{"role": "team", "models": ["m"]}]))
    assert "role_permissions" in said


def test_a_value_from_a_variable(load_config):
    config = load_config(
        written({"user_allowed_email_domain": "os.environ/DOMAIN"}), {**SCOPED, "DOMAIN": "example.com"}
    )
    assert config.options.jwt_auth.user_allowed_email_domain == "example.com"


def test_settings_of_litellm_without_effect_are_named(load_config):
    config = load_config(written({"sync_user_role_and_teams": True}), SCOPED)
    assert ["sync_user_role_and_teams" in str(problem) for problem in config.problems] == [True]


@pytest.mark.parametrize(
    ("rules", "environment", "word"),
    [
        ({}, {}, "JWT_PUBLIC_KEY_URL"),
        ({}, {**KEYS, "JWT_ISSUER": "i"}, "JWT_AUDIENCE"),
        ({}, {"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----"}, "JWT_AUDIENCE"),
        ({}, {**KEYS, "JWT_AUDIENCE": "a"}, "JWT_ISSUER"),
        ({"issuers": [{"issuer": "i", "audience": "a"}]}, {**KEYS, "JWT_ISSUER": "i"}, "JWT_AUDIENCE"),
    ],
)
def test_tokens_for_others_or_for_nobody_are_warned_about(load_config, rules, environment, word):
    [problem] = load_config(written(rules), environment).problems
    assert problem.level == "warning"
    assert word in str(problem)


def test_an_issuer_may_have_tokens_without_an_audience(load_config):
    config = load_config(written({"issuers": [{"issuer": "i", "disable_audience_validation": True}]}))
    assert (config.problems, config.options.jwt_auth.issuers[0].audience) == ((), None)


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("http://keys.example/jwks", True),
        ("http://10.0.0.1/jwks", True),
        ("http://127.0.0.1.example/jwks", True),
        ("http://127.0.0.1:8080/jwks", False),
        ("http://[::1]/jwks", False),
        ("http://localhost:8080/jwks", False),
        ("https://keys.example/jwks", False),
    ],
)
@pytest.mark.parametrize("where", ["variable", "jwks_url", "issuer"])
def test_public_keys_from_an_unencrypted_address_are_a_warning(load_config, where, address, warns):
    environment = {**SCOPED, "JWT_PUBLIC_KEY_URL": address} if where == "variable" else {}
    entry = {"issuer": address, "audience": "us"} if where == "issuer" else {"issuer": "i", "audience": "us"}
    issuers = [entry | ({"jwks_url": address} if where == "jwks_url" else {})]
    config = load_config(written({} if where == "variable" else {"issuers": issuers}), environment)
    assert any(f"{address} is not encrypted" in p.message for p in config.problems) == warns
