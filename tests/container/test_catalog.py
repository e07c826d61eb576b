"""The part of the configuration that the edge imports."""

import json
from typing import Any

import pytest

from container.config.document import ConfigError
from container.proxy.catalog import catalog, source, write
from worker.core.api.health import models_on
from worker.core.ledger.accounts import Limits

CONTENT = {
    "model_list": [
        {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "os.environ/MINE"}},
        {"model_name": "a", "litellm_params": {"model": "azure/x"}},
        {"model_name": "b", "litellm_params": {"model": "gemini/x"}},
        {"model_name": "free", "litellm_params": {"model": "openai/x", "mock_response": "hi"}},
    ],
    "general_settings": {"allowed_origins": ["https://a.example"], "master_key": "os.environ/LITELLM_MASTER_KEY"},
}


def test_catalog_lists_the_requirements_of_each_deployment(load_config):
    found = catalog(load_config(CONTENT))
    assert found["models"] == {
        "a": [["MINE"], ["AZURE_API_BASE", "AZURE_API_KEY"]],
        "b": [["GEMINI_API_KEY|GOOGLE_API_KEY"]],
        "free": [[]],
    }
    assert found["allowed_origins"] == ["https://a.example"]


def test_catalog_lists_exactly_the_variables_for_the_container(load_config):
    names = catalog(load_config(CONTENT))["environment"]
    assert names == sorted(set(names))
    assert {"MINE", "AZURE_API_BASE", "AZURE_API_VERSION", "GOOGLE_API_KEY", "OPENAI_BASE_URL"} <= set(names)
    assert "STREAM_KEEPALIVE" in names
    assert not {"LITELLM_MASTER_KEY", "INTERNAL_TOKEN", "PORT", "LITELLM_PORT", "DATABASE_URL"} & set(names)


def test_cloud_variables_are_included_only_with_the_engine(load_config):
    direct = load_config({"model_list": [CONTENT["model_list"][0]]})
    assert "AWS_ACCESS_KEY_ID" not in catalog(direct)["environment"]
    assert "AWS_ACCESS_KEY_ID" in catalog(load_config(CONTENT))["environment"]


def test_callback_variables_are_included(load_config):
    settings = {"success_callback": ["generic_api"], "failure_callback": ["generic_api", "langsmith"]}
    names = set(catalog(load_config(with_settings("litellm_settings", **settings)))["environment"])
    assert {"GENERIC_LOGGER_ENDPOINT", "GENERIC_LOGGER_HEADERS", "LANGSMITH_API_KEY", "LANGSMITH_PROJECT"} <= names
    assert "LANGFUSE_SECRET_KEY" not in names
    without = set(catalog(load_config({"model_list": CONTENT["model_list"]}))["environment"])
    assert not {name for name in without if name.startswith(("GENERIC_", "LANGSMITH_", "REDIS_"))}


@pytest.mark.parametrize(
    ("params", "expected", "others"),
    [
        ({}, {"REDIS_URL", "REDIS_HOST", "REDIS_PASSWORD"}, {"MY_REDIS"}),
        (
            {"host": "os.environ/MY_REDIS", "password": "os.environ/ITS_PASSWORD"},
            {"MY_REDIS", "ITS_PASSWORD"},
            {"REDIS_URL"},
        ),
        ({"type": "s3", "s3_bucket_name": "os.environ/BUCKET"}, {"BUCKET"}, {"REDIS_URL"}),
    ],
)
def test_cache_address_variables_are_included(load_config, params, expected, others):
    config = load_config(with_settings("litellm_settings", cache=True, cache_params=params))
    names = set(catalog(config)["environment"])
    assert expected <= names
    assert not others & names


def test_variables_referenced_by_settings_are_included_except_the_gateways_own_key(load_config):
    content = {
        "model_list": CONTENT["model_list"],
        "litellm_settings": {"drop_params": "os.environ/DROP", "guardrails": [{"api_key": "os.environ/GUARD_KEY"}]},
        "general_settings": {"master_key": "os.environ/MY_MASTER", "virtual_keys": [{"key": "os.environ/BOT_KEY"}]},
    }
    names = set(catalog(load_config(content, {"DROP": "true", "BOT_KEY": "sk-s3cret-of-it"}))["environment"])
    assert {"DROP", "GUARD_KEY"} <= names
    assert not {"MY_MASTER", "BOT_KEY"} & names


def test_hash_identifies_the_content(load_config):
    first = catalog(load_config(CONTENT))
    assert first["hash"] == catalog(load_config(CONTENT, {"MINE": "set", "AZURE_API_KEY": "k"}))["hash"]
    other = {**CONTENT, "model_list": CONTENT["model_list"][:3]}
    assert first["hash"] != catalog(load_config(other))["hash"]


def test_edge_and_proxy_agree_on_enabled_models(load_config):
    for environment in (
        {},
        {"MINE": "x"},
        {"GOOGLE_API_KEY": "x"},
        {"AZURE_API_KEY": "x", "AZURE_API_BASE": "https://x"},
    ):
        config = load_config(CONTENT, environment)
        at_the_proxy = [name for name, members in config.groups.items() if any(not d.off for d in members)]
        assert models_on(catalog(config)["models"], environment.__contains__) == at_the_proxy


def with_settings(section: str, **settings: Any) -> dict[str, Any]:
    return {"model_list": CONTENT["model_list"], section: settings}


def test_budgets_are_included(load_config):
    found = catalog(load_config(with_settings("litellm_settings", max_budget=1, soft_budget=0.5, max_user_budget=2)))
    assert Limits(*found["policy"]["everyone"]) == Limits(10**9, 5 * 10**8, None)
    assert Limits(*found["policy"]["each_user"]) == Limits(2 * 10**9)


@pytest.mark.parametrize(
    "name", ["max_budget", "soft_budget", "budget_duration", "max_user_budget", "user_budget_duration", "max_fallbacks"]
)
def test_config_that_the_edge_cannot_resolve_makes_no_catalog(load_config, name):
    section = "router_settings" if name == "max_fallbacks" else "litellm_settings"
    values = {"max_budget": 1, "max_user_budget": 1} if section == "litellm_settings" else {}
    config = load_config(with_settings(section, **{**values, name: "os.environ/MOST"}))
    with pytest.raises(ConfigError, match=f"{name}: error: stands in a variable"):
        catalog(config)


def test_declared_keys_are_included_without_secrets(load_config):
    declared = {"key": "os.environ/BOT_KEY", "key_alias": "bot", "max_budget": 3}
    config = load_config(with_settings("general_settings", virtual_keys=[declared]), {"BOT_KEY": "sk-s3cret-of-it"})
    found = catalog(config)
    assert found["virtual_keys"] == [{"variable": "BOT_KEY", "fields": {"key_alias": "bot", "max_budget": 3}}]
    assert "BOT_KEY" not in found["environment"]
    assert "s3cret" not in source(config)
    written = load_config(with_settings("general_settings", virtual_keys=[{**declared, "key": "sk-s3cret-of-it"}]))
    with pytest.raises(ConfigError, match="no place for it"):
        catalog(written)


def test_possible_targets_of_a_request_are_included(load_config):
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}

    def model(name: str, **params: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}, "model_info": prices}

    config = load_config(
        {
            "model_list": [model("a"), model("b"), model("b"), model("c"), model("set", temperature=0), model("w/*")],
            "router_settings": {
                "fallbacks": [{"a": ["b"]}, {"b": ["c"]}, {"c": ["set"]}],
                "context_window_fallbacks": [{"b": ["a"]}],
                "model_group_alias": {"also-a": "a"},
            },
        }
    )
    found = catalog(config)
    # The proxy must quote the price where a route leads to preset fields or to a wildcard.
    assert found["reach"] == {}
    less = load_config(
        {
            "model_list": [model("a"), model("b"), model("b"), model("c"), model("set", temperature=0), model("w/*")],
            "router_settings": {
                "fallbacks": [{"a": ["b"]}, {"b": ["c"]}],
                "context_window_fallbacks": [{"c": ["a"]}],
                "model_group_alias": {"also-a": "a"},
            },
        }
    )
    found = catalog(less)
    assert found["reach"] == {"a": [0, 1, 2, 3], "b": [1, 2, 3], "c": [3, 0], "also-a": [0, 1, 2, 3]}
    assert [d["group"] for d in found["deployments"]] == ["a", "b", "b", "c", "set", "w/*"]
    assert all(d["price"]["input"] == 10**9 for d in found["deployments"])


def test_source_is_a_module_with_the_catalog(load_config):
    config = load_config(CONTENT)
    module: dict = {}
    exec(source(config), module)
    assert module["CATALOG"] == catalog(config)
    assert json.loads(json.dumps(module["CATALOG"])) == module["CATALOG"]
    assert "config.yaml" in module["__doc__"]


def test_file_is_written_only_if_it_differs(load_config, tmp_path):
    load_config(CONTENT)
    target = tmp_path / "catalog.py"
    assert write(tmp_path / "config.yaml", target) is True
    before = target.stat().st_mtime_ns
    assert write(tmp_path / "config.yaml", target) is False
    assert target.stat().st_mtime_ns == before
    target.write_text("CATALOG = {}\n")
    assert write(tmp_path / "config.yaml", target) is True


def test_catalog_contains_no_secret_of_the_file(load_config):
    params = {"model": "openai/x", "api_key": "sk-secret", "extra_headers": {"x-key": "s3cret"}}
    config = load_config(
        {"model_list": [{"model_name": "a", "litellm_params": params}], "general_settings": {"master_key": "sk-secret"}}
    )
    assert "secret" not in source(config)
    assert "s3cret" not in source(config)


@pytest.mark.parametrize("secret", ["os.environ/A", "text"])
def test_hash_does_not_depend_on_the_master_key(load_config, secret):
    content = {**CONTENT, "general_settings": {**CONTENT["general_settings"], "master_key": secret}}
    assert catalog(load_config(content))["hash"] == catalog(load_config(CONTENT))["hash"]
