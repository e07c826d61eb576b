"""router_settings, litellm_settings, general_settings: implemented, the engine's, or a reason not to start."""

import pytest

from container.config import ConfigError, Options
from container.config.option_values import STRATEGIES

MODELS = [
    {"model_name": name, "litellm_params": {"model": "openai/x", "mock_response": "hi"}}
    for name in ("a", "b", "c", "free/*")
]


@pytest.fixture
def options(load_config):
    def read(section: str = "router_settings", environment=None, **settings) -> Options:
        return load_config({"model_list": MODELS, section: settings}, environment).options

    return read


@pytest.fixture
def refusal(complaints):
    def said(section: str = "router_settings", **settings) -> str:
        [line] = complaints({"model_list": MODELS, section: settings})
        return line

    return said


def test_defaults(options):
    assert options() == Options()
    assert (Options().num_retries, Options().timeout, Options().fallbacks) == (2, 600.0, {})


def test_a_section_may_be_blank(load_config):
    config = load_config("model_list: [{model_name: a, litellm_params: {model: openai/x}}]\nrouter_settings:\n")
    assert config.options == Options()


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


def test_a_value_may_come_from_the_environment(options):
    assert options(timeout="os.environ/T", environment={"T": "9"}).timeout == 9.0
    assert options(timeout="os.environ/T").timeout == Options().timeout


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


# The other sections


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


MODEL_A = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}


@pytest.mark.parametrize("params", [{}, {"type": "redis"}, {"type": "redis", "ttl": 600}])
def test_a_cache_in_redis_is_ours(load_config, params):
    settings = {"cache": True, "cache_params": params}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, {"REDIS_HOST": "cache"})
    assert [d.kind for d in config.deployments] == ["direct"]
    assert config.options.response_cache.url == "redis://cache:6379"
    assert config.options.response_cache.ttl == 600
    assert config.problems == ()


def test_a_cache_may_have_a_redis_of_its_own(load_config):
    params = {"host": "mine", "port": 7000, "password": "os.environ/SECRET"}
    settings = {"cache": True, "cache_params": params}
    environment = {"REDIS_HOST": "cache", "SECRET": "s3cret"}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, environment)
    assert config.options.response_cache.url == "redis://:s3cret@mine:7000"
    assert "s3cret" not in repr(config)


def test_a_cache_without_redis_is_warned_of(load_config):
    config = load_config({"model_list": [MODEL_A], "litellm_settings": {"cache": True}})
    assert "nothing is cached" in str(config.problems[0])


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"type": "redis-semantic"}, "no cache of this version"),
        ({"ttl": 0}, "seconds over 0"),
        ({"similarity_threshold": 0.8}, "is not known"),
        ({"supported_call_types": "all"}, "list of texts"),
        ("redis", "mapping"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(load_config, params, wrong):
    with pytest.raises(ConfigError, match=wrong):
        load_config({"model_list": [MODEL_A], "litellm_settings": {"cache": True, "cache_params": params}})
