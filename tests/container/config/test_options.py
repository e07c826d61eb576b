"""router_settings, litellm_settings, general_settings: implemented, the engine's, or a reason not to start."""

import pytest

from container.config import Options

from .conftest import MODELS


def test_defaults(options):
    assert options() == Options()
    assert (Options().num_retries, Options().timeout, Options().fallbacks) == (2, 600.0, {})


def test_a_section_may_be_blank(load_config):
    config = load_config("model_list: [{model_name: a, litellm_params: {model: openai/x}}]\nrouter_settings:\n")
    assert config.options == Options()


def test_a_value_may_come_from_the_environment(options):
    assert options(timeout="os.environ/T", environment={"T": "9"}).timeout == 9.0
    assert options(timeout="os.environ/T").timeout == Options().timeout


def test_the_master_key_may_be_a_reference(options):
    key = {"master_key": "os.environ/K"}
    assert options("general_settings", environment={"K": "sk-1"}, **key).master_key == "sk-1"
    assert options("general_settings", **key).master_key is None
    assert options("general_settings", master_key=1234).master_key == "1234"


def test_the_master_key_is_not_in_the_representation(options):
    assert "sk-secret" not in repr(options("general_settings", master_key="sk-secret"))


@pytest.mark.parametrize(
    "origins", [["https://a.example/", " https://b.example"], "https://a.example, https://b.example"]
)
def test_allowed_origins_are_a_list_or_a_text(options, origins):
    found = options("general_settings", allowed_origins=origins)
    assert found.allowed_origins == ("https://a.example", "https://b.example")


def test_drop_params_is_read_and_noted(load_config):
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
def test_a_setting_that_only_litellm_honours_sends_every_model_through_the_engine(load_config, setting):
    models = [{"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    config = load_config({"model_list": models, "litellm_settings": setting})
    assert [d.kind for d in config.deployments] == ["engine"]
    assert config.options.engine_settings == setting
    assert config.needs_engine


@pytest.mark.parametrize("off", [None, False, [], {}])
def test_a_setting_of_litellm_that_is_switched_off_changes_nothing(load_config, off):
    models = [{"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}]
    config = load_config({"model_list": models, "litellm_settings": {"cache": off}})
    assert [d.kind for d in config.deployments] == ["direct"]
    assert not config.needs_engine


def test_a_setting_that_does_nothing_here_is_said_to(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"set_verbose": True}})
    [note] = [str(p) for p in config.problems]
    assert "note: does nothing here: use LITELLM_LOG_LEVEL" in note


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("general_settings", "max_budget"),
        ("router_settings", "max_budget"),
        ("general_settings", "request_logging"),
        ("general_settings", "database_url"),
        ("router_settings", "nonesuch"),
        ("litellm_settings", "nonesuch"),
        ("general_settings", "nonesuch"),
        ("general_settings", "num_retries"),
        ("router_settings", "master_key"),
        ("router_settings", "callbacks"),
        ("router_settings", "latency_ttl"),
    ],
)
def test_a_setting_that_is_not_honoured_stops_the_start(refusal, section, name):
    said = refusal(section, **{name: 1})
    assert f": {section}.{name}: error: " in said


@pytest.mark.parametrize(
    ("section", "name", "mend"),
    [
        ("router_settings", "num_retrys", "Did you mean `num_retries`?"),
        ("router_settings", "routing_stategy", "Did you mean `routing_strategy`?"),
        ("litellm_settings", "max_bugdet", "Did you mean `max_budget`?"),
        ("litellm_settings", "sucess_callback", "Did you mean `success_callback`?"),
        ("litellm_settings", "set_verbos", "Did you mean `set_verbose`?"),
        ("general_settings", "masterkey", "Did you mean `master_key`?"),
        ("general_settings", "virtual_key", "Did you mean `virtual_keys`?"),
        ("general_settings", "max_budget", "It belongs in litellm_settings."),
        ("general_settings", "num_retries", "It belongs in router_settings or litellm_settings."),
        ("router_settings", "nonesuch", "Remove it."),
    ],
)
def test_a_setting_that_is_misspelt_or_misplaced_gets_a_hint(refusal, section, name, mend):
    assert refusal(section, **{name: 1}).endswith(f" {mend}")


def test_a_misspelt_model_in_a_chain_gets_a_hint(complaints):
    models = [{"model_name": "claude-sonnet", "litellm_params": {"model": "openai/x", "mock_response": "hi"}}]
    settings = {"fallbacks": [{"claude-sonnet": ["claude-sonet"]}], "routing_strategy": "latency-based"}
    said = complaints({"model_list": models, "router_settings": settings})
    assert "Did you mean `claude-sonnet`?" in said[0]
    assert "Did you mean `latency-based-routing`?" in said[1]


@pytest.mark.parametrize("origins", ["example.com", ["https://a.example/path"], ["https://a.example", "everything"]])
def test_an_origin_that_no_browser_has_is_refused(refusal, origins):
    assert "is no origin. Write `https://host`, or `*`." in refusal("general_settings", allowed_origins=origins)


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings", "general_settings"])
def test_a_section_that_is_no_mapping_is_refused(complaints, section):
    [said] = complaints({"model_list": MODELS, section: ["x"]})
    assert f": {section}: error: has to be a mapping" in said


def test_budgets_are_nano_dollars(load_config):
    settings = {"max_budget": 50, "soft_budget": 40.5, "budget_duration": "1d", "max_user_budget": 0.1}
    options = load_config({"model_list": MODELS, "litellm_settings": settings}).options
    assert options.has_budget
    assert options.policy.everyone[:3] == (50 * 10**9, 40_500_000_000, "1d")
    assert options.policy.user("ada")[:3] == (100_000_000, None, None)


def test_without_budgets_there_are_none(load_config):
    options = load_config({"model_list": MODELS}).options
    assert not options.has_budget
    assert options.policy.everyone == options.policy.user("ada") == (None,) * 6


def test_a_budget_from_the_environment(load_config):
    settings = {"max_budget": "os.environ/BUDGET"}
    options = load_config({"model_list": MODELS, "litellm_settings": settings}, {"BUDGET": "2.5"}).options
    assert options.max_budget == 2_500_000_000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_budget": "lots"}, "litellm_settings.max_budget: error: has to be an amount of US dollars, not 'lots'"),
        ({"max_budget": -1}, "litellm_settings.max_budget: error: has to be an amount of US dollars, not -1"),
        ({"max_budget": 1, "budget_duration": "soon"}, "error: cannot be used: 'soon' is no duration"),
        ({"budget_duration": "1d"}, "litellm_settings.budget_duration: error: has no use without max_budget."),
        ({"max_budget": 1, "soft_budget": 2}, "litellm_settings.soft_budget: error: is over max_budget."),
    ],
)
def test_a_budget_that_cannot_be_kept_stops_the_start(complaints, settings, said):
    [line] = complaints({"model_list": MODELS, "litellm_settings": settings})
    assert said in line
