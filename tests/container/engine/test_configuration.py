"""The engine's configuration file and environment."""

from typing import Any

import pytest
import yaml

from container.config.load import Config
from container.engine import MASTER_KEY_VARIABLE, engine_configuration, engine_environment
from container.server.settings import VARIABLES


def told(config: Config) -> dict[str, Any]:
    return yaml.safe_load(engine_configuration(config))


@pytest.fixture
def models(load_config):
    def of(*entries: dict[str, Any], environment=None, **sections) -> list[dict[str, Any]]:
        return told(load_config({"model_list": list(entries), **sections}, environment))["model_list"]

    return of


def model(name: str, provider_model: str, **params) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": provider_model, **params},
        "model_info": {"id": f"id-{name}"},
    }


def test_each_deployment_has_its_own_name(load_config):
    same = {"model_name": "a", "litellm_params": {"model": "anthropic/x", "api_key": "os.environ/K"}}
    config = load_config({"model_list": [same, same]}, {"K": "s3cret"})
    names = [entry["model_name"] for entry in told(config)["model_list"]]
    assert names == [d.id for d in config.deployments]
    assert len(set(names)) == 2


def test_disabled_and_mock_deployments_are_omitted(models):
    found = models(
        model("on", "anthropic/x", api_key="k"),
        model("off", "anthropic/x", api_key="os.environ/UNSET"),
        model("mock", "openai/x", mock_response="hi"),
    )
    assert [entry["model_name"] for entry in found] == ["id-on"]


def test_directly_called_deployments_are_included_for_other_endpoints(models):
    assert [entry["model_name"] for entry in models(model("a", "openai/x", api_key="k"))] == ["id-a"]


def test_secrets_stay_references(load_config):
    config = load_config(
        {"model_list": [model("a", "anthropic/x", api_key="os.environ/K", extra_headers={"x": "os.environ/H"})]},
        {"K": "s3cret-1", "H": "s3cret-2"},
    )
    assert "s3cret" not in engine_configuration(config)
    assert told(config)["model_list"][0]["litellm_params"]["api_key"] == "os.environ/K"


def test_parameters_are_passed_on_except_those_handled_here(models):
    ours = {"rpm": 1, "tpm": 1, "weight": 1, "timeout": 1, "stream_timeout": 1, "max_parallel_requests": 1}
    [entry] = models(model("a", "bedrock/x", aws_region_name="eu-west-1", temperature=0.5, max_retries=7, **ours))
    assert entry["litellm_params"] == {
        "model": "bedrock/x",
        "aws_region_name": "eu-west-1",
        "temperature": 0.5,
        "max_retries": 0,
    }
    assert entry["model_info"] == {"id": "id-a"}


def test_models_of_a_wildcard_are_named_below_its_id(models):
    [entry] = models(model("v/*", "vertex_ai/*", vertex_credentials="x"))
    assert (entry["model_name"], entry["litellm_params"]["model"]) == ("id-v/*/*", "vertex_ai/*")
    [one] = models(model("v/*", "vertex_ai/gemini", vertex_credentials="x"))
    assert one["model_name"] == "id-v/*"


def test_engine_does_not_retry_route_or_send_telemetry(load_config):
    found = told(load_config({"model_list": [model("a", "anthropic/x", api_key="k")]}))
    assert found["router_settings"] == {"num_retries": 0, "disable_cooldowns": True}
    quiet = {"num_retries": 0, "telemetry": False, "drop_params": False, "disable_hf_tokenizer_download": True}
    assert quiet.items() <= found["litellm_settings"].items()
    assert found["general_settings"]["master_key"] == f"os.environ/{MASTER_KEY_VARIABLE}"
    assert found["general_settings"]["cancel_on_disconnect"] is True
    assert found["general_settings"]["disable_model_info_refresh"] is True


def test_litellm_settings_reach_the_engine(load_config):
    settings = {"callbacks": ["langfuse"], "drop_params": True}
    found = told(load_config({"model_list": [model("a", "openai/x", api_key="k")], "litellm_settings": settings}))
    assert found["litellm_settings"]["callbacks"] == ["langfuse"]
    assert found["litellm_settings"]["drop_params"] is True


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"api_base": "http://elsewhere.example/v1"}, "none"),
        ({"api_base": "http://elsewhere.example/v1", "use_in_pass_through": True}, "none"),
        ({"api_base": "http://elsewhere.example/v1", "api_key": "mine"}, "mine"),
        ({"api_base": "https://api.openai.com/v1"}, None),
        ({"api_base": "https://api.openai.com/v1", "use_in_pass_through": True}, None),
        ({}, None),
    ],
)
def test_providers_default_key_is_not_sent_to_a_custom_address(models, params, key):
    [entry] = models(model("a", "openai/x", **params), environment={"OPENAI_API_KEY": "sk-openai"})
    assert entry["litellm_params"].get("api_key") == key


def test_environment_is_passed_on_without_private_variables():
    # Those of HTTP proxies have a test of their own.
    ours = {v.name: "x" for v in VARIABLES} | {
        "DATABASE_URL": "x",
        "DATABASE_HOST": "x",
        "DIRECT_URL": "x",
        "REDIS_URL": "x",
        "REDIS_PASSWORD": "x",
        "LITELLM_SALT_KEY": "x",
        "LITELLM_CONFIG_BUCKET_NAME": "x",
        "EMPTY": "",
    }
    kept = {"PATH": "/bin", "HOME": "/root", "OPENAI_API_KEY": "sk", "AWS_REGION": "eu", "MY_OWN_KEY": "k"}
    found = engine_environment({**ours, **kept}, "sk-engine")
    assert kept.items() <= found.items()
    assert (
        not {name for name in ours if not name.startswith("OTEL_") and not name.upper().endswith("_PROXY")}
        & found.keys()
    )
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "x"  # also for LiteLLM's callback `otel`
    assert found[MASTER_KEY_VARIABLE] == "sk-engine"


def test_engine_uses_bundled_files_and_reads_no_env_file():
    found = engine_environment({"LITELLM_LOCAL_MODEL_COST_MAP": "False", "LITELLM_MODE": "DEV"}, "k")
    assert found["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert (found["LITELLM_MODE"], found["LITELLM_TELEMETRY"]) == ("PRODUCTION", "False")


def test_engine_uses_the_same_http_proxies():
    ours = {"HTTPS_PROXY": "http://a", "http_proxy": "http://b", "NO_PROXY": "c", "no_proxy": "d"}
    assert ours.items() <= engine_environment(ours, "k").items()


def test_log_level_can_be_set():
    assert engine_environment({}, "k")["LITELLM_LOG"] == "ERROR"
    assert engine_environment({"LITELLM_LOG": "DEBUG"}, "k")["LITELLM_LOG"] == "DEBUG"
