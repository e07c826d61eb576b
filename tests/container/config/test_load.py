"""The whole configuration."""

import pytest

from container.config.document import ConfigError
from container.config.load import load
from tests.processes import ROOT

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
SHIPPED = ROOT / "litellm_config.yaml"


def test_deployments_of_one_name_form_a_group_in_file_order(load_config):
    other = {**MODEL, "model_name": "b"}
    config = load_config({"model_list": [MODEL, other, MODEL]})
    assert [d.group for d in config.deployments] == ["a", "b", "a"]
    assert {name: len(members) for name, members in config.groups.items()} == {"a": 2, "b": 1}
    assert config.groups["a"] == (config.deployments[0], config.deployments[2])
    assert config.name == "config.yaml"


@pytest.mark.parametrize("models", [None, []])
def test_config_without_models_has_no_groups(warned, models):
    [said] = warned({"model_list": models, "general_settings": {}})
    assert "model_list: warning: is missing or empty" in said


@pytest.mark.parametrize("models", [{"a": 1}, "text"])
def test_models_must_be_a_list(complaints, models):
    [said] = complaints({"model_list": models})
    assert "model_list: error: has to be a list" in said


@pytest.mark.parametrize(("name", "hint"), [("router_setings", "router_settings"), ("x-anything", "There are:")])
def test_unknown_section_is_reported(warned, name, hint):
    [said] = warned({"model_list": [MODEL], name: {"a": 1}})
    assert f": {name}: warning: is not a section" in said
    assert hint in said


@pytest.mark.parametrize("name", ["litellm_setings", "general_setting", "guardrail", "model_lists"])
def test_misspelled_protective_section_stops_the_start(complaints, name):
    said = complaints({"model_list": [MODEL], name: {"a": 1}})
    assert [line for line in said if f": {name}: error: " in line and "Did you mean" in line]


def test_all_errors_are_reported_at_once(complaints):
    said = complaints(
        """\
        model_list:
          - model_name: a
            litellm_params: {api_base: x}
          - model_name: 5
            litellm_params:
              model: openai/x
        router_settings:
          routing_strategy: best
          fallbacks: [a]
        """
    )
    assert sorted(line.split(":")[1] for line in said) == ["3", "4", "8", "9"]


def test_warnings_do_not_stop_the_start(load_config):
    params = {"model": "openai/x", "api_base": "http://elsewhere.example/v1"}
    config = load_config({"model_list": [{"model_name": "a", "litellm_params": params}]}, {"OPENAI_API_KEY": "k"})
    assert [p.level for p in config.problems] == ["warning"]


def test_errors_are_reported_together_with_warnings(load_config):
    params = {"model": "openai/x", "api_base": "http://elsewhere.example/v1"}
    models = [{"model_name": "a", "litellm_params": params}]
    settings = {"max_budget": "lots"}
    with pytest.raises(ConfigError) as caught:
        load_config({"model_list": models, "litellm_settings": settings}, {"OPENAI_API_KEY": "k"})
    assert sorted(p.level for p in caught.value.problems) == ["error", "warning"]
    assert "warning" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "needed"),
    [
        ({"model": "openai/x", "api_key": "k"}, False),
        ({"model": "openai/x", "mock_response": "hi"}, False),
        ({"model": "cohere_chat/x", "api_key": "k"}, True),
        ({"model": "cohere_chat/x"}, False),
    ],
    ids=["direct", "mock", "engine", "engine but off"],
)
def test_engine_is_required_only_for_enabled_deployments_or_its_own_settings(load_config, params, needed):
    config = load_config({"model_list": [{"model_name": "a", "litellm_params": params}]})
    assert config.needs_engine is needed


# The shipped config


def test_shipped_config_has_no_problems():
    assert load(SHIPPED, {}).problems == ()


def test_shipped_config_works_without_any_key():
    config = load(SHIPPED, {})
    assert [d.group for d in config.deployments if not d.off] == ["mock"]
    assert not config.needs_engine


def test_shipped_config_has_every_documented_model():
    groups = load(SHIPPED, {}).groups.keys()
    named = (
        "claude-sonnet gpt-4o gemini-pro gemini-flash gpt-4 gpt-4-turbo gpt-3.5-turbo gpt-4o-mini "
        "claude-3-opus claude-3-sonnet claude-3-haiku azure/* vertex_ai/*"
    ).split()
    assert set(named) <= groups
    providers = {d.provider for d in load(SHIPPED, {}).deployments}
    assert {"openrouter", "groq", "replicate", "cohere_chat"} <= providers


def test_every_concrete_shipped_model_has_a_price_and_limits():
    for d in load(SHIPPED, {}).deployments:
        if not d.wildcard:
            limit = "max_input_tokens" if d.info.get("mode") == "embedding" else "max_output_tokens"
            assert {"input_cost_per_token", "output_cost_per_token", limit} <= d.info.keys(), d.group


def test_shipped_chain_is_claude_then_gpt_then_gemini():
    assert load(SHIPPED, {}).options.fallbacks["claude-sonnet"] == ("gpt-4o", "gemini-pro")
