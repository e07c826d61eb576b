"""The extract of the configuration that the edge imports."""

import json

import pytest

from container.config.catalog import DEFAULT_PATH, catalog, source, write
from tests.processes import ROOT
from worker.api.models import models_on

CONTENT = {
    "model_list": [
        {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "os.environ/MINE"}},
        {"model_name": "a", "litellm_params": {"model": "azure/x"}},
        {"model_name": "b", "litellm_params": {"model": "gemini/x"}},
        {"model_name": "free", "litellm_params": {"model": "openai/x", "mock_response": "hi"}},
    ],
    "general_settings": {"allowed_origins": ["https://a.example"], "master_key": "os.environ/LITELLM_MASTER_KEY"},
}


def test_it_names_what_each_deployment_needs(load_config):
    found = catalog(load_config(CONTENT))
    assert found["models"] == {
        "a": [["MINE"], ["AZURE_API_BASE", "AZURE_API_KEY"]],
        "b": [["GEMINI_API_KEY|GOOGLE_API_KEY"]],
        "free": [[]],
    }
    assert found["allowed_origins"] == ["https://a.example"]


def test_it_names_the_variables_the_container_may_have_and_no_other(load_config):
    names = catalog(load_config(CONTENT))["environment"]
    assert names == sorted(set(names))
    assert {"MINE", "AZURE_API_BASE", "AZURE_API_VERSION", "GOOGLE_API_KEY", "OPENAI_BASE_URL"} <= set(names)
    assert "STREAM_KEEPALIVE" in names
    assert not {"LITELLM_MASTER_KEY", "INTERNAL_TOKEN", "PORT", "LITELLM_PORT", "DATABASE_URL"} & set(names)


def test_the_variables_of_cloud_providers_go_along_only_with_the_engine(load_config):
    direct = load_config({"model_list": [CONTENT["model_list"][0]]})
    assert "AWS_ACCESS_KEY_ID" not in catalog(direct)["environment"]
    assert "AWS_ACCESS_KEY_ID" in catalog(load_config(CONTENT))["environment"]


def test_the_hash_names_the_content(load_config):
    first = catalog(load_config(CONTENT))
    assert first["hash"] == catalog(load_config(CONTENT, {"MINE": "set", "AZURE_API_KEY": "k"}))["hash"]
    other = {**CONTENT, "model_list": CONTENT["model_list"][:3]}
    assert first["hash"] != catalog(load_config(other))["hash"]


def test_the_edge_and_the_proxy_agree_on_which_models_are_on(load_config):
    for environment in (
        {},
        {"MINE": "x"},
        {"GOOGLE_API_KEY": "x"},
        {"AZURE_API_KEY": "x", "AZURE_API_BASE": "https://x"},
    ):
        config = load_config(CONTENT, environment)
        at_the_proxy = [name for name, members in config.groups.items() if any(not d.off for d in members)]
        assert models_on(catalog(config)["models"], environment.__contains__) == at_the_proxy


def test_the_source_is_a_module_that_holds_it(load_config):
    config = load_config(CONTENT)
    module: dict = {}
    exec(source(config), module)
    assert module["CATALOG"] == catalog(config)
    assert json.loads(json.dumps(module["CATALOG"])) == module["CATALOG"]
    assert "config.yaml" in module["__doc__"]


def test_it_is_written_only_when_it_differs(load_config, tmp_path):
    load_config(CONTENT)
    target = tmp_path / "catalog.py"
    assert write(tmp_path / "config.yaml", target) is True
    before = target.stat().st_mtime_ns
    assert write(tmp_path / "config.yaml", target) is False
    assert target.stat().st_mtime_ns == before
    target.write_text("CATALOG = {}\n")
    assert write(tmp_path / "config.yaml", target) is True


def test_no_secret_of_the_file_gets_into_it(load_config):
    params = {"model": "openai/x", "api_key": "sk-secret", "extra_headers": {"x-key": "s3cret"}}
    config = load_config(
        {"model_list": [{"model_name": "a", "litellm_params": params}], "general_settings": {"master_key": "sk-secret"}}
    )
    assert "secret" not in source(config)
    assert "s3cret" not in source(config)


def test_the_catalog_in_the_repository_is_the_shipped_configs(tmp_path):
    target = tmp_path / "catalog.py"
    target.write_text(DEFAULT_PATH.read_text())
    assert write(ROOT / "litellm_config.yaml", target) is False, "run: litellm-router catalog"


@pytest.mark.parametrize("secret", ["os.environ/A", "text"])
def test_the_hash_does_not_depend_on_the_master_key(load_config, secret):
    content = {**CONTENT, "general_settings": {**CONTENT["general_settings"], "master_key": secret}}
    assert catalog(load_config(content))["hash"] == catalog(load_config(CONTENT))["hash"]
