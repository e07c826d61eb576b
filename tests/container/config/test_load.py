"""The whole configuration."""

import pytest

from container.config.document import ConfigError
from container.config.load import Options, load
from tests.container.config.conftest import MODELS
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


# Settings of the whole proxy.


def test_defaults(options):
    assert options() == Options()
    assert (Options().num_retries, Options().timeout, Options().fallbacks) == (2, 600.0, {})


def test_blank_section_is_allowed(load_config):
    config = load_config("model_list: [{model_name: a, litellm_params: {model: openai/x}}]\nrouter_settings:\n")
    assert config.options == Options()


def test_value_may_come_from_the_environment(options):
    assert options(timeout="os.environ/T", environment={"T": "9"}).timeout == 9.0
    assert options(timeout="os.environ/T").timeout == Options().timeout


def test_master_key_may_be_a_reference(options):
    key = {"master_key": "os.environ/K"}
    assert options("general_settings", environment={"K": "sk-1"}, **key).master_key == "sk-1"
    assert options("general_settings", **key).master_key is None
    assert options("general_settings", master_key=1234).master_key == "1234"


def test_master_key_is_not_in_the_repr(options):
    assert "sk-secret" not in repr(options("general_settings", master_key="sk-secret"))


@pytest.mark.parametrize(
    "origins", [["https://a.example/", " https://b.example"], "https://a.example, https://b.example"]
)
def test_allowed_origins_may_be_a_list_or_text(options, origins):
    found = options("general_settings", allowed_origins=origins)
    assert found.allowed_origins == ("https://a.example", "https://b.example")


def test_drop_params_is_read_and_reported(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"drop_params": True}})
    assert config.options.drop_params is True
    assert [p.level for p in config.problems] == ["note"]


@pytest.mark.parametrize(
    "setting",
    [
        {"callbacks": ["langfuse"]},
        {"success_callback": ["langfuse"]},
        {"cache": True, "cache_params": {"type": "local"}},
        {"guardrails": [{"name": "x"}]},
    ],
)
def test_litellm_only_setting_sends_every_model_through_the_engine(load_config, setting):
    models = [{"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    config = load_config({"model_list": models, "litellm_settings": setting})
    assert [d.kind for d in config.deployments] == ["engine"]
    assert config.options.engine_settings == setting
    assert config.needs_engine


@pytest.mark.parametrize("off", [None, False, [], {}])
def test_disabled_litellm_setting_has_no_effect(load_config, off):
    models = [{"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    config = load_config({"model_list": models, "litellm_settings": {"cache": off}})
    assert [d.kind for d in config.deployments] == ["direct"]
    assert not config.needs_engine


def test_harmless_setting_is_reported_as_a_note(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"set_verbose": True}})
    [note] = [str(p) for p in config.problems]
    assert "note: does nothing here: use LITELLM_LOG_LEVEL" in note


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("router_settings", "nonesuch"),
        ("litellm_settings", "nonesuch"),
        ("general_settings", "nonesuch"),
        ("general_settings", "num_retries"),
        ("router_settings", "callbacks"),
        ("router_settings", "latency_ttl"),
        ("general_settings", "health_check_interval"),
        ("router_settings", "optional_pre_call_checks"),
    ],
)
def test_setting_without_effect_is_reported_as_a_warning(warning, section, name):
    assert f": {section}.{name}: warning: " in warning(section, **{name: 1})


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings", "general_settings"])
def test_blank_setting_is_ignored(load_config, section):
    blank = dict.fromkeys(
        ("database_url", "master_key", "fallbacks", "model_group_alias", "cache", "drop_params", "max_budget",
         "num_retries", "callbacks", "allowed_ips", "guardrails", "nonesuch", "redis_host", "retry_policy")
    )  # fmt: skip
    config = load_config({"model_list": MODELS, section: blank})
    assert config.options == Options()
    assert config.problems == ()


@pytest.mark.parametrize("section", ["general_settings", "router_settings"])
def test_budget_is_enforced_in_any_section(load_config, section):
    config = load_config({"model_list": MODELS, section: {"max_budget": "50", "budget_duration": "30d"}})
    assert config.options.policy.everyone[:3] == (50 * 10**9, None, "30d")
    assert {p.level for p in config.problems} == {"warning"}


def test_internal_user_budget_applies_to_each_user(options):
    found = options("litellm_settings", max_internal_user_budget=2, internal_user_budget_duration="1d")
    assert found.policy.user("ada")[:3] == (2 * 10**9, None, "1d")
    both = options("litellm_settings", max_internal_user_budget=2, max_user_budget=1)
    assert both.max_user_budget == 10**9


def test_budget_from_an_unset_variable_is_reported(options):
    found = options("litellm_settings", max_budget="os.environ/MOST")
    assert found.budgets_unset == ("MOST",)
    assert options("litellm_settings", max_budget="os.environ/MOST", environment={"MOST": "1"}).budgets_unset == ()


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings"])
def test_misplaced_master_key_still_applies(load_config, section):
    config = load_config({"model_list": MODELS, section: {"master_key": "sk-mine"}})
    assert config.options.master_key == "sk-mine"
    assert any("general_settings" in str(p) for p in config.problems)


@pytest.mark.parametrize(
    ("section", "name", "mend"),
    [
        ("litellm_settings", "max_bugdet", "Did you mean `max_budget`?"),
        ("litellm_settings", "guardrail", "Did you mean `guardrails`?"),
        ("general_settings", "masterkey", "Did you mean `master_key`?"),
        ("general_settings", "virtual_key", "Did you mean `virtual_keys`?"),
        ("general_settings", "allowed_ip", "Did you mean `allowed_ips`?"),
    ],
)
def test_misspelled_protective_setting_stops_the_start(refusal, section, name, mend):
    assert refusal(section, **{name: 1}).endswith(f" {mend}")


@pytest.mark.parametrize(
    ("section", "name", "mend"),
    [
        ("router_settings", "num_retrys", "Did you mean `num_retries`?"),
        ("router_settings", "routing_stategy", "Did you mean `routing_strategy`?"),
        ("litellm_settings", "sucess_callback", "Did you mean `success_callback`?"),
        ("litellm_settings", "set_verbos", "Did you mean `set_verbose`?"),
        ("general_settings", "num_retries", "It belongs in router_settings or litellm_settings."),
        ("general_settings", "upperbound_key_generate_params", "It belongs in litellm_settings."),
    ],
)
def test_misspelled_or_misplaced_setting_gets_a_suggestion(warning, section, name, mend):
    assert warning(section, **{name: 1}).endswith(f" {mend}")


def test_misspelled_model_in_a_fallback_gets_a_suggestion(warned):
    models = [{"model_name": "claude-sonnet", "litellm_params": {"model": "openai/x", "mock_response": "hi"}}]
    [said] = warned({"model_list": models, "router_settings": {"fallbacks": [{"claude-sonnet": ["claude-sonet"]}]}})
    assert "Did you mean `claude-sonnet`?" in said


def test_misspelled_strategy_gets_a_suggestion(refusal):
    assert "Did you mean `latency-based-routing`?" in refusal(routing_strategy="latency-based")


@pytest.mark.parametrize("origins", ["example.com", ["https://a.example/path"], ["https://a.example", "everything"]])
def test_invalid_origin_is_rejected(refusal, origins):
    assert "is no origin. Write `https://host`, or `*`." in refusal("general_settings", allowed_origins=origins)


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings", "general_settings"])
def test_section_must_be_a_mapping(complaints, section):
    [said] = complaints({"model_list": MODELS, section: ["x"]})
    assert f": {section}: error: has to be a mapping" in said


def test_budgets_are_nano_dollars(load_config):
    settings = {"max_budget": 50, "soft_budget": 40.5, "budget_duration": "1d", "max_user_budget": 0.1}
    options = load_config({"model_list": MODELS, "litellm_settings": settings}).options
    assert options.has_budget
    assert options.policy.everyone[:3] == (50 * 10**9, 40_500_000_000, "1d")
    assert options.policy.user("ada")[:3] == (100_000_000, None, None)


def test_budgets_default_to_none(load_config):
    options = load_config({"model_list": MODELS}).options
    assert not options.has_budget
    assert options.policy.everyone == options.policy.user("ada") == (None,) * 6


def test_budget_may_come_from_the_environment(load_config):
    settings = {"max_budget": "os.environ/BUDGET"}
    options = load_config({"model_list": MODELS, "litellm_settings": settings}, {"BUDGET": "2.5"}).options
    assert options.max_budget == 2_500_000_000


def test_duration_without_a_budget_has_no_effect(warning):
    assert "budget_duration: warning: has no use" in warning("litellm_settings", budget_duration="1d")


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("False", False), ("on", True), (1, True), (0, False)])
def test_a_flag_may_be_quoted(options, said, meant):
    assert options("litellm_settings", drop_params=said).drop_params is meant


def test_flag_may_be_a_variable(options):
    assert options("litellm_settings", drop_params="os.environ/DROP", environment={"DROP": "True"}).drop_params


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_budget": "lots"}, "litellm_settings.max_budget: error: has to be an amount of US dollars, not 'lots'"),
        ({"max_budget": -1}, "litellm_settings.max_budget: error: has to be an amount of US dollars, not -1"),
        ({"max_budget": 1, "budget_duration": "soon"}, "error: cannot be used: 'soon' is no duration"),
        ({"max_budget": 1, "soft_budget": 2}, "litellm_settings.soft_budget: error: is over max_budget."),
    ],
)
def test_unenforceable_budget_stops_the_start(complaints, settings, said):
    [line] = complaints({"model_list": MODELS, "litellm_settings": settings})
    assert said in line
