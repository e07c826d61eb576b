"""The whole configuration."""

import pytest

from container.config import ConfigError, load
from tests.processes import ROOT

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
SHIPPED = ROOT / "litellm_config.yaml"


def test_deployments_of_one_name_are_one_group_in_the_files_order(load_config):
    other = {**MODEL, "model_name": "b"}
    config = load_config({"model_list": [MODEL, other, MODEL]})
    assert [d.group for d in config.deployments] == ["a", "b", "a"]
    assert {name: len(members) for name, members in config.groups.items()} == {"a": 2, "b": 1}
    assert config.groups["a"] == (config.deployments[0], config.deployments[2])
    assert config.name == "config.yaml"


@pytest.mark.parametrize("models", [None, [], {}, "text"])
def test_without_models_there_is_nothing_to_run(complaints, models):
    assert complaints({"model_list": models}) == [
        "config.yaml:1: model_list: error: is missing or empty. List at least one model."
    ]


def test_an_unknown_section_is_refused_naming_those_there_are(complaints):
    [said] = complaints({"model_list": [MODEL], "router_setings": {}})
    assert ": router_setings: error: is not a section" in said
    assert "router_settings" in said.partition("There are:")[2]


def test_secrets_do_not_belong_in_the_file(complaints):
    [said] = complaints({"model_list": [MODEL], "environment_variables": {"OPENAI_API_KEY": "sk-secret"}})
    assert ": environment_variables: error: " in said
    assert "sk-secret" not in said


def test_all_mistakes_are_named_at_once(complaints):
    said = complaints(
        """\
        model_list:
          - model_name: a
            litellm_params: {model: nonesuch/x}
          - model_name: b
            litellm_params:
              model: openai/x
              rpm: many
        router_settings:
          timeout: soon
          fallbacks: [{a: [c]}]
        """
    )
    assert sorted(line.split(":")[1] for line in said) == ["10", "3", "7", "9"]


def test_warnings_do_not_stop_the_start(load_config):
    params = {"model": "openai/x", "api_base": "http://elsewhere.example/v1"}
    config = load_config({"model_list": [{"model_name": "a", "litellm_params": params}]}, {"OPENAI_API_KEY": "k"})
    assert [p.level for p in config.problems] == ["warning"]


def test_an_error_comes_with_the_warnings(load_config):
    params = {"model": "openai/x", "api_base": "http://elsewhere.example/v1", "rpm": "x"}
    with pytest.raises(ConfigError) as caught:
        load_config({"model_list": [{"model_name": "a", "litellm_params": params}]}, {"OPENAI_API_KEY": "k"})
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
def test_the_engine_is_needed_for_deployments_that_are_on_and_its_own(load_config, params, needed):
    config = load_config({"model_list": [{"model_name": "a", "litellm_params": params}]})
    assert config.needs_engine is needed


# The config that is shipped


def test_the_shipped_config_has_no_problem():
    assert load(SHIPPED, {}).problems == ()


def test_the_shipped_config_answers_without_any_key():
    config = load(SHIPPED, {})
    assert [d.group for d in config.deployments if not d.off] == ["mock"]
    assert not config.needs_engine


def test_the_shipped_config_has_every_model_the_readers_know():
    groups = load(SHIPPED, {}).groups.keys()
    named = (
        "claude-sonnet gpt-4o gemini-pro gemini-flash gpt-4 gpt-4-turbo gpt-3.5-turbo gpt-4o-mini "
        "claude-3-opus claude-3-sonnet claude-3-haiku azure/* vertex_ai/*"
    ).split()
    assert set(named) <= groups
    providers = {d.provider for d in load(SHIPPED, {}).deployments}
    assert {"openrouter", "groq", "replicate", "cohere_chat"} <= providers


def test_every_concrete_model_of_the_shipped_config_has_a_price_and_limits():
    for d in load(SHIPPED, {}).deployments:
        if not d.wildcard:
            limit = "max_input_tokens" if d.info.get("mode") == "embedding" else "max_output_tokens"
            assert {"input_cost_per_token", "output_cost_per_token", limit} <= d.info.keys(), d.group


def test_the_shipped_chain_is_claude_then_gpt_then_gemini():
    assert load(SHIPPED, {}).options.fallbacks["claude-sonnet"] == ("gpt-4o", "gemini-pro")
