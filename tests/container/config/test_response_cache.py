"""`litellm_settings.cache`: whose it is, and where."""

import pytest

from container.config import ConfigError

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
