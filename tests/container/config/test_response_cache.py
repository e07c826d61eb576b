"""`litellm_settings.cache`: built in or LiteLLM's, and its address."""

import pytest

from container.config.document import ConfigError

MODEL_A = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}


@pytest.mark.parametrize("params", [{}, {"type": "redis"}, {"type": "redis", "ttl": 600}])
def test_redis_cache_is_built_in(load_config, params):
    settings = {"cache": True, "cache_params": params}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, {"REDIS_HOST": "cache"})
    assert [d.kind for d in config.deployments] == ["direct"]
    assert config.options.response_cache.url == "redis://cache:6379"
    assert config.options.response_cache.ttl == 600
    assert config.problems == ()


def test_cache_may_have_its_own_redis(load_config):
    params = {"host": "mine", "port": 7000, "password": "os.environ/SECRET"}
    settings = {"cache": True, "cache_params": params}
    environment = {"REDIS_HOST": "cache", "SECRET": "s3cret"}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, environment)
    assert config.options.response_cache.url == "redis://:s3cret@mine:7000"
    assert "s3cret" not in repr(config)


def test_cache_without_redis_causes_a_warning(load_config):
    config = load_config({"model_list": [MODEL_A], "litellm_settings": {"cache": True}})
    assert "nothing is cached" in str(config.problems[0])


@pytest.mark.parametrize("params", [{"type": "redis-semantic"}, {"mode": "default_off"}])
def test_unavailable_cache_stores_nothing(load_config, params):
    settings = {"cache": True, "cache_params": params}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, {"REDIS_HOST": "cache"})
    assert config.options.response_cache is None
    assert config.options.engine_reason is None
    assert "nothing is cached" in str(config.problems[0])


def test_parameter_without_effect_is_reported(load_config):
    settings = {"cache": True, "cache_params": {"max_connections": 100, "ttl": "600", "host": None, "ssl": None}}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, {"REDIS_HOST": "cache"})
    assert (config.options.response_cache.url, config.options.response_cache.ttl) == ("redis://cache:6379", 600)
    [problem] = config.problems
    assert "max_connections" in str(problem)


def test_cache_may_be_a_url(load_config):
    settings = {"cache": True, "cache_params": {"type": "redis", "redis_url": "os.environ/MINE"}}
    environment = {"REDIS_HOST": "cache", "MINE": "rediss://mine:1/2"}
    config = load_config({"model_list": [MODEL_A], "litellm_settings": settings}, environment)
    assert config.options.response_cache.url == "rediss://mine:1/2"
    assert config.options.response_cache.variables == ("MINE",)


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"ttl": 0}, "seconds over 0"),
        ({"supported_call_types": "all"}, "list of texts"),
        ("redis", "mapping"),
    ],
)
def test_invalid_cache_is_rejected(load_config, params, wrong):
    with pytest.raises(ConfigError, match=wrong):
        load_config({"model_list": [MODEL_A], "litellm_settings": {"cache": True, "cache_params": params}})
