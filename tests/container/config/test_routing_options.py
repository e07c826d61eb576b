"""Strategies, retries, fallbacks and aliases in router_settings and litellm_settings."""

import pytest

from container.config.load import Options
from container.config.option_values import STRATEGIES
from tests.container.config.conftest import MODELS


def test_numbers_are_read(options):
    found = options(
        num_retries=0,
        timeout=30,
        stream_timeout="2.5",
        allowed_fails=7,
        cooldown_time=0.5,
        retry_after=1,
        max_fallbacks=1,
        disable_cooldowns="true",
    )
    assert (found.num_retries, found.timeout, found.stream_timeout, found.allowed_fails) == (0, 30.0, 2.5, 7)
    assert (found.cooldown_time, found.retry_after, found.max_fallbacks) == (0.5, 1.0, 1)
    assert found.disable_cooldowns is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_retries", "two"),
        ("num_retries", 1.5),
        ("num_retries", -1),
        ("num_retries", True),
        ("num_retries", float("inf")),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", [1]),
        ("cooldown_time", -0.1),
    ],
)
def test_invalid_value_keeps_the_default_and_is_reported_with_line_and_key(options, warning, name, value):
    said = warning(**{name: value})
    assert f": router_settings.{name}: warning: has to be" in said
    assert said.startswith("config.yaml:")
    assert getattr(options(**{name: value}), name) == getattr(Options(), name)


def test_invalid_limit_stops_the_start(refusal):
    assert ": error: has to be" in refusal(default_max_parallel_requests="few")


def test_flag_with_any_other_text_is_on(options, warning):
    assert options(disable_cooldowns="perhaps").disable_cooldowns is True
    assert "disable_cooldowns: warning" in warning(disable_cooldowns="perhaps")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_accepted(options, strategy):
    assert options(routing_strategy=strategy).routing_strategy == strategy


def test_unknown_strategy_error_lists_the_strategies(refusal):
    said = refusal(routing_strategy="best-effort")
    assert "'best-effort' is not a strategy" in said
    assert "simple-shuffle" in said


def test_usage_based_routing_v1_is_treated_as_v2(options):
    assert options(routing_strategy="usage-based-routing").routing_strategy == "usage-based-routing-v2"


def test_strategy_arguments_are_read_or_ignored(options, warning):
    found = options(routing_strategy_args={"ttl": 60, "lowest_latency_buffer": 0.5})
    assert (found.latency_ttl, found.lowest_latency_buffer) == (60.0, 0.5)
    assert "router_settings.routing_strategy_args.other: warning" in warning(routing_strategy_args={"other": 1})
    assert "has to be a mapping" in warning(routing_strategy_args=[1])


def test_litellms_request_timeout_is_the_timeout(options):
    assert options("litellm_settings", request_timeout=12).timeout == 12.0


@pytest.mark.parametrize("strategy", ["lar1", "provider-budget-routing"])
def test_litellm_only_strategy_becomes_simple_shuffle(options, warning, strategy):
    assert options(routing_strategy=strategy).routing_strategy == "simple-shuffle"
    assert "routing_strategy: warning" in warning(routing_strategy=strategy)


# Fallbacks


def test_fallback_with_fields_becomes_its_model(options, warning):
    chain = [{"a": ["b", {"model": "c", "messages": [{"role": "user", "content": "Shorter"}]}]}]
    assert options(fallbacks=chain).fallbacks == {"a": ("b", "c")}
    assert "fields" in warning(fallbacks=chain)


def test_variables_are_resolved_at_any_depth(load_config):
    settings = {
        "model_group_alias": {"alias": {"model": "os.environ/TARGET"}},
        "retry_policy": {"TimeoutErrorRetries": "os.environ/RETRIES"},
        "fallbacks": [{"b": "os.environ/TARGET"}],
    }
    found = load_config({"model_list": MODELS, "router_settings": settings}, {"TARGET": "a", "RETRIES": "4"}).options
    assert found.model_group_alias == {"alias": "a"}
    assert found.retry_policy == {"TimeoutErrorRetries": 4}
    assert found.fallbacks == {"b": ("a",)}


def test_fallbacks_keep_their_order(options):
    found = options(fallbacks=[{"a": ["b", "c"]}, {"b": ["c"]}])
    assert found.fallbacks == {"a": ("b", "c"), "b": ("c",)}


def test_three_kinds_of_fallbacks_are_separate(options):
    found = options(
        fallbacks=[{"a": ["b"]}],
        context_window_fallbacks=[{"a": ["c"]}],
        content_policy_fallbacks=[{"b": ["a"]}],
    )
    assert found.fallbacks == {"a": ("b",)}
    assert found.context_window_fallbacks == {"a": ("c",)}
    assert found.content_policy_fallbacks == {"b": ("a",)}


def test_fallbacks_of_both_sections_are_combined(load_config):
    config = load_config(
        {
            "model_list": MODELS,
            "router_settings": {"fallbacks": [{"a": ["b"]}]},
            "litellm_settings": {"fallbacks": [{"b": ["c"]}]},
        }
    )
    assert config.options.fallbacks == {"a": ("b",), "b": ("c",)}


@pytest.mark.parametrize("order", [("fallbacks", "default_fallbacks"), ("default_fallbacks", "fallbacks")])
def test_default_fallbacks_apply_to_every_other_group(options, order):
    settings = {"fallbacks": [{"a": ["b"]}], "default_fallbacks": ["c"]}
    assert options(**{name: settings[name] for name in order}).fallbacks == {"a": ("b",), "*": ("c",)}


def test_wildcard_may_serve_a_fallback(options):
    assert options(fallbacks=[{"a": ["free/auto"]}]).fallbacks == {"a": ("free/auto",)}


@pytest.mark.parametrize(
    ("chains", "key"),
    [
        ([{"a": [5]}], "router_settings.fallbacks[0].a"),
        ({"a": ["b"]}, "router_settings.fallbacks"),
        (["a"], "router_settings.fallbacks"),
    ],
)
def test_invalid_fallbacks_are_reported_with_line_and_key(refusal, chains, key):
    assert f": {key}: error: " in refusal(fallbacks=chains)


@pytest.mark.parametrize(
    ("chains", "found"),
    [
        ([{"a": ["nonesuch"]}], {}),
        ([{"a": ["nonesuch", "b"]}], {"a": ("b",)}),
        ([{"nonesuch": ["a"]}], {"nonesuch": ("a",)}),
    ],
)
def test_unknown_fallback_model_is_skipped(load_config, chains, found):
    config = load_config({"model_list": MODELS, "router_settings": {"fallbacks": chains}})
    assert config.options.fallbacks == found
    [problem] = config.problems
    assert "'nonesuch'" in str(problem)
    assert "There are: a, b, c, free/*." in str(problem)


def test_alias_may_be_a_fallback(options):
    found = options(model_group_alias={"other": "b"}, fallbacks=[{"a": ["other"]}, {"b": "c"}])
    assert found.fallbacks == {"a": ("other",), "b": ("c",)}


# Aliases, policies


def test_aliases_are_read_in_both_of_litellms_forms(options):
    found = options(model_group_alias={"gpt": "a", "gpt4": {"model": "b", "hidden": False}})
    assert found.model_group_alias == {"gpt": "a", "gpt4": "b"}


def test_alias_may_be_hidden(options):
    found = options(model_group_alias={"x": {"model": "a", "hidden": True}, "y": {"model": "a", "hidden": "false"}})
    assert found.model_group_alias == {"x": "a", "y": "a"}
    assert found.hidden_aliases == {"x"}


@pytest.mark.parametrize(
    ("aliases", "found"), [({"x": "nonesuch"}, {}), ({"a": "b"}, {"a": "b"}), ({"x": 5}, {}), ({"a": "a"}, {})]
)
def test_invalid_alias_causes_a_warning(load_config, aliases, found):
    config = load_config({"model_list": MODELS, "router_settings": {"model_group_alias": aliases}})
    assert config.options.model_group_alias == found
    assert [p.level for p in config.problems] == ["warning"] * (aliases != {"a": "a"})


def test_aliases_must_be_a_mapping(refusal):
    assert ": router_settings.model_group_alias: error: " in refusal(model_group_alias=["a"])


def test_retry_policy_is_read(options):
    policy = {"TimeoutErrorRetries": 3, "RateLimitErrorRetries": 0}
    assert options(retry_policy=policy).retry_policy == policy


def test_retry_policy_numbers_may_be_quoted_or_blank(options):
    policy = {"TimeoutErrorRetries": "3", "RateLimitErrorRetries": None}
    assert options(retry_policy=policy).retry_policy == {"TimeoutErrorRetries": 3}


@pytest.mark.parametrize("policy", [{"TimeoutErrorRetries": -1}, {"TimeoutErrorRetries": "many"}])
def test_invalid_retry_policy_is_reported_with_its_class(options, warning, policy):
    assert f"router_settings.retry_policy.{next(iter(policy))}: warning" in warning(retry_policy=policy)
    assert options(retry_policy=policy).retry_policy == {}


@pytest.mark.parametrize("name", ["retry_policy", "allowed_fails_policy"])
def test_policy_that_is_not_a_mapping_has_no_effect(warning, name):
    assert f"router_settings.{name}: warning" in warning(**{name: 3})


@pytest.mark.parametrize("name", ["retry_policy", "allowed_fails_policy"])
def test_unknown_error_class_has_no_effect(warning, name):
    assert f"router_settings.{name}.NoSuchError: warning" in warning(**{name: {"NoSuchError": 1}})


def test_allowed_fails_policy_applies_by_kind_of_failure(options):
    policy = {
        "RateLimitErrorAllowedFails": "100",
        "InternalServerErrorAllowedFails": 2,
        "TimeoutErrorAllowedFails": None,
    }
    assert options(allowed_fails_policy=policy).allowed_fails_policy == {
        "rate_limit": 100,
        "server": 2,
        "connection": 2,
    }


def test_failures_caused_by_the_request_are_not_counted(load_config):
    settings = {"allowed_fails_policy": {"BadRequestErrorAllowedFails": 1000}}
    config = load_config({"model_list": MODELS, "router_settings": settings})
    assert config.options.allowed_fails_policy == {}
    assert [p.level for p in config.problems] == ["note"]


def test_limit_may_apply_to_every_deployment(load_config):
    own = {"model_name": "own", "litellm_params": {"model": "openai/x", "api_key": "k", "max_parallel_requests": 1}}
    settings = {"default_max_parallel_requests": "5"}
    config = load_config({"model_list": [*MODELS, own], "router_settings": settings})
    assert {d.group: d.max_parallel_requests for d in config.deployments} == {
        **dict.fromkeys(("a", "b", "c", "free/*"), 5),
        "own": 1,
    }


@pytest.mark.parametrize("name", ["BadRequestErrorRetries", "ContentPolicyViolationErrorRetries"])
def test_retry_policy_for_a_never_retried_error_is_reported(load_config, name):
    config = load_config({"model_list": MODELS, "router_settings": {"retry_policy": {name: 2}}})
    assert config.options.retry_policy == {}
    [note] = [str(p) for p in config.problems]
    assert f"router_settings.retry_policy.{name}: note: does nothing here" in note
