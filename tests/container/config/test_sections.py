"""Top-level sections, model defaults, and settings that stop the start."""

import pytest

from container.config.document import ConfigError
from container.config.foreign_settings import OTHER_AUTHENTICATION, STOPS
from container.engine import engine_configuration

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
# For each setting, a value that has an effect in LiteLLM.
PROMISES = {
    "general_settings.allowed_ips": ["192.0.2.1"],
    "general_settings.completion_model": "a",
    "general_settings.embedding_model": "a",
    "general_settings.image_generation_model": "a",
    "general_settings.moderation_model": "a",
    "general_settings.enforced_params": ["user"],
    "general_settings.admin_only_routes": ["/chat/completions"],
    "general_settings.enforce_fallback_model_access": True,
    "litellm_settings.max_end_user_budget": 1,
    "litellm_settings.max_end_user_budget_id": "b",
    "litellm_settings.tag_budget_config": {"t": {"max_budget": 1}},
    "litellm_settings.cost_margin_config": {"global": 0.05},
    "litellm_settings.upperbound_key_generate_params": {"max_budget": 100},
    "litellm_settings.default_key_generate_params": {"max_budget": 1.5},
    "router_settings.provider_budget_config": {"openai": {"budget_limit": 1, "time_period": "1d"}},
    "router_settings.guardrail_list": [{"guardrail_name": "g"}],
    "policies": {"p": {}},
}


def written(key: str, value) -> dict:
    section, _, name = key.partition(".")
    return {"model_list": [MODEL], section: {name: value} if name else value}


@pytest.mark.parametrize("key", STOPS)
def test_setting_whose_loss_is_unsafe_stops_the_start(complaints, key):
    [said] = complaints(written(key, PROMISES[key]))
    assert f": {key}: error: " in said
    assert STOPS[key].mend in said


@pytest.mark.parametrize("key", STOPS)
@pytest.mark.parametrize("blank", [None, [], {}])
def test_blank_unsafe_setting_does_not_stop_the_start(load_config, key, blank):
    load_config(written(key, blank))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general_settings.admin_only_routes", ["/key/generate", "/user/new"]),
        ("litellm_settings.default_key_generate_params", {"metadata": {"a": 1}, "models": []}),
        ("general_settings.enable_jwt_auth", "false"),
    ],
)
def test_unsafe_setting_with_a_harmless_value_does_not_stop_the_start(load_config, key, value):
    load_config(written(key, value))


@pytest.mark.parametrize("key", OTHER_AUTHENTICATION)
def test_other_authentication_requires_a_master_key(complaints, load_config, key):
    [said] = complaints(written(key, "custom.auth"))
    assert "LITELLM_MASTER_KEY" in said
    config = load_config(written(key, "custom.auth"), {"LITELLM_MASTER_KEY": "sk-m"})
    assert [p.level for p in config.problems] == ["warning"]


@pytest.mark.parametrize("section", ["mcp_servers", "vector_store_registry", "files_settings", "prompts", "fallbacks"])
def test_section_without_effect_is_reported(warned, section):
    [said] = warned({"model_list": [MODEL], section: [{"a": 1}]})
    assert f": {section}: warning: does nothing here" in said


# Guardrails


GUARD = {"guardrail_name": "g", "litellm_params": {"guardrail": "presidio", "mode": "pre_call", "default_on": True}}


def test_default_on_guardrail_sends_every_model_through_the_engine(load_config):
    config = load_config({"model_list": [MODEL], "guardrails": [GUARD]})
    assert [d.kind for d in config.deployments] == ["engine"]
    assert "presidio" in engine_configuration(config)


def test_optional_guardrail_causes_a_warning(load_config):
    named = {**GUARD, "litellm_params": {**GUARD["litellm_params"], "default_on": False}}
    config = load_config({"model_list": [MODEL], "guardrails": [named]})
    assert [d.kind for d in config.deployments] == ["direct"]
    assert "guardrails[0]: warning" in str(config.problems[0])


def test_missing_custom_guardrail_stops_the_start(complaints, load_config, tmp_path):
    own = {**GUARD, "litellm_params": {**GUARD["litellm_params"], "guardrail": "mine.Guard"}}
    [said] = complaints({"model_list": [MODEL], "guardrails": [own]})
    assert "mine.py" in said
    (tmp_path / "mine.py").touch()
    assert load_config({"model_list": [MODEL], "guardrails": [own]}).options.engine_reason == "guardrails"


def test_invalid_guardrails_stop_the_start(complaints):
    [said] = complaints({"model_list": [MODEL], "guardrails": {"a": 1}})
    assert ": guardrails: error" in said


# Tags


def test_tagged_deployments_with_tag_filtering_stop_the_start(complaints, load_config):
    tagged = {**MODEL, "litellm_params": {**MODEL["litellm_params"], "tags": ["paid"]}}
    settings = {"router_settings": {"enable_tag_filtering": True}}
    [said] = complaints({"model_list": [tagged], **settings})
    assert "router_settings.enable_tag_filtering: error" in said
    load_config({"model_list": [tagged]})
    load_config({"model_list": [MODEL], **settings})


def test_blocking_unpriced_models_requires_a_budget(complaints, load_config):
    name = {"block_requests_for_models_without_pricing": True}
    [said] = complaints({"model_list": [MODEL], "litellm_settings": name})
    assert "max_budget" in said
    assert load_config({"model_list": [MODEL], "litellm_settings": {**name, "max_budget": 1}}).problems == ()


# Credentials and defaults


def test_model_may_reference_a_credential(load_config):
    content = {
        "model_list": [{"model_name": "a", "litellm_params": {"model": "azure/x", "litellm_credential_name": "mine"}}],
        "credential_list": [
            {
                "credential_name": "mine",
                "credential_values": {"api_key": "os.environ/K", "api_base": "https://h.example", "api_version": "v"},
            }
        ],
    }
    [d] = load_config(content, {"K": "s3cret"}).deployments
    assert (d.api_key, d.base, d.api_version, d.kind) == ("s3cret", "https://h.example", "v", "direct")
    assert load_config(content).deployments[0].off == ("K",)


def test_missing_credential_is_reported(warned):
    params = {"model": "openai/x", "litellm_credential_name": "nonesuch"}
    [said] = warned({"model_list": [{"model_name": "a", "litellm_params": params}]}, {"OPENAI_API_KEY": "k"})
    assert "litellm_credential_name: warning: 'nonesuch'" in said


def test_default_parameters_apply_to_every_model(load_config):
    own = {**MODEL, "litellm_params": {**MODEL["litellm_params"], "temperature": 1}}
    settings = {"default_litellm_params": {"temperature": 0, "timeout": 9}}
    config = load_config({"model_list": [MODEL, own], "router_settings": settings})
    assert [(d.presets, d.timeout) for d in config.deployments] == [({"temperature": 0}, 9), ({"temperature": 1}, 9)]
    with pytest.raises(ConfigError, match="default_litellm_params"):
        load_config({"model_list": [MODEL], "router_settings": {"default_litellm_params": [1]}})
