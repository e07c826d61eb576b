"""Strategies, retries, fallbacks and aliases, in router_settings and litellm_settings."""

import pytest

from container.config.option_values import STRATEGIES

from .conftest import MODELS


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
        ("disable_cooldowns", "perhaps"),
        ("disable_cooldowns", 1),
    ],
)
def test_a_value_of_the_wrong_kind_names_line_and_key(refusal, name, value):
    said = refusal(**{name: value})
    assert f": router_settings.{name}: error: has to be" in said
    assert said.startswith("config.yaml:")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_may_be_named(options, strategy):
    assert options(routing_strategy=strategy).routing_strategy == strategy


def test_an_unknown_strategy_is_refused_naming_those_there_are(refusal):
    said = refusal(routing_strategy="best-effort")
    assert "'best-effort' is not a strategy" in said
    assert "simple-shuffle" in said


def test_the_strategys_arguments_are_read_or_refused(options, refusal):
    found = options(routing_strategy_args={"ttl": 60, "lowest_latency_buffer": 0.5})
    assert (found.latency_ttl, found.lowest_latency_buffer) == (60.0, 0.5)
    assert "router_settings.routing_strategy_args.other: error" in refusal(routing_strategy_args={"other": 1})
    assert "has to be a mapping" in refusal(routing_strategy_args=[1])


def test_the_request_timeout_of_litellm_is_the_timeout(options):
    assert options("litellm_settings", request_timeout=12).timeout == 12.0


# Chains


def test_chains_are_read_in_order(options):
    found = options(fallbacks=[{"a": ["b", "c"]}, {"b": ["c"]}])
    assert found.fallbacks == {"a": ("b", "c"), "b": ("c",)}


def test_the_three_kinds_of_chains_are_kept_apart(options):
    found = options(
        fallbacks=[{"a": ["b"]}],
        context_window_fallbacks=[{"a": ["c"]}],
        content_policy_fallbacks=[{"b": ["a"]}],
    )
    assert found.fallbacks == {"a": ("b",)}
    assert found.context_window_fallbacks == {"a": ("c",)}
    assert found.content_policy_fallbacks == {"b": ("a",)}


def test_chains_of_both_sections_add_up(load_config):
    config = load_config(
        {
            "model_list": MODELS,
            "router_settings": {"fallbacks": [{"a": ["b"]}]},
            "litellm_settings": {"fallbacks": [{"b": ["c"]}]},
        }
    )
    assert config.options.fallbacks == {"a": ("b",), "b": ("c",)}


@pytest.mark.parametrize("order", [("fallbacks", "default_fallbacks"), ("default_fallbacks", "fallbacks")])
def test_default_fallbacks_stand_for_every_other_group(options, order):
    settings = {"fallbacks": [{"a": ["b"]}], "default_fallbacks": ["c"]}
    assert options(**{name: settings[name] for name in order}).fallbacks == {"a": ("b",), "*": ("c",)}


def test_a_fallback_may_be_served_by_a_wildcard(options):
    assert options(fallbacks=[{"a": ["free/auto"]}]).fallbacks == {"a": ("free/auto",)}


@pytest.mark.parametrize(
    ("chains", "key"),
    [
        ([{"a": ["nonesuch"]}], "router_settings.fallbacks[0].a"),
        ([{"nonesuch": ["a"]}], "router_settings.fallbacks[0].nonesuch"),
        ([{"a": "b"}], "router_settings.fallbacks[0].a"),
        ([{"a": [5]}], "router_settings.fallbacks[0].a"),
        ({"a": ["b"]}, "router_settings.fallbacks"),
        (["a"], "router_settings.fallbacks"),
    ],
)
def test_a_broken_chain_names_line_and_key(refusal, chains, key):
    assert f": {key}: error: " in refusal(fallbacks=chains)


def test_an_unknown_fallback_names_the_models_there_are(refusal):
    assert "There are: a, b, c, free/*." in refusal(fallbacks=[{"a": ["nonesuch"]}])


# Aliases, policies


def test_aliases_are_read_in_both_of_litellms_forms(options):
    found = options(model_group_alias={"gpt": "a", "gpt4": {"model": "b", "hidden": False}})
    assert found.model_group_alias == {"gpt": "a", "gpt4": "b"}


@pytest.mark.parametrize(
    ("aliases", "key"),
    [
        ({"x": "nonesuch"}, "router_settings.model_group_alias.x"),
        ({"a": "b"}, "router_settings.model_group_alias.a"),
        ({"x": 5}, "router_settings.model_group_alias.x"),
        ({"x": {"model": "a", "hidden": True}}, "router_settings.model_group_alias.x.hidden"),
        (["a"], "router_settings.model_group_alias"),
    ],
)
def test_a_broken_alias_names_line_and_key(refusal, aliases, key):
    assert f": {key}: error: " in refusal(model_group_alias=aliases)


def test_a_retry_policy_is_read(options):
    policy = {"TimeoutErrorRetries": 3, "RateLimitErrorRetries": 0}
    assert options(retry_policy=policy).retry_policy == policy


@pytest.mark.parametrize(
    "policy", [{"NoSuchErrorRetries": 1}, {"TimeoutErrorRetries": -1}, {"TimeoutErrorRetries": "2"}]
)
def test_a_broken_retry_policy_names_its_class(refusal, policy):
    assert f"router_settings.retry_policy.{next(iter(policy))}: error" in refusal(retry_policy=policy)


@pytest.mark.parametrize("name", ["BadRequestErrorRetries", "ContentPolicyViolationErrorRetries"])
def test_a_retry_policy_for_what_is_never_retried_is_said_to_do_nothing(load_config, name):
    config = load_config({"model_list": MODELS, "router_settings": {"retry_policy": {name: 2}}})
    assert config.options.retry_policy == {}
    [note] = [str(p) for p in config.problems]
    assert f"router_settings.retry_policy.{name}: note: does nothing here" in note
