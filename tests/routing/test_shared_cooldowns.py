"""Replicas share cooldowns through a real Redis, and continue without it."""

import time
from pathlib import Path

import httpx
import pytest

from container.config.sections import redis_url
from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy
from tests.redis_server import RedisServer


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"REDIS_URL": "rediss://r:6380/2", "REDIS_HOST": "other"}, "rediss://r:6380/2"),
        ({"REDIS_HOST": "r"}, "redis://r:6379"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "7000", "REDIS_PASSWORD": "a/b"}, "redis://:a%2Fb@r:7000"),
    ],
)
def test_redis_url_from_config_and_environment(environment, url):
    assert redis_url(environment) == url


@pytest.fixture
def redis(tmp_path: Path, free_port: int):
    with RedisServer(tmp_path, free_port) as server:
        yield server


def start_two(proxy: StartProxy, fake: FakeProvider, redis: RedisServer, tmp_path: Path) -> list[RunningProxy]:
    def model(name: str) -> dict:
        return {
            "model_name": "m",
            "litellm_params": {"model": f"openai/{name}", "api_key": "k", "api_base": fake.openai_base},
        }

    config = {"model_list": [model("one"), model("two")], "router_settings": {"cooldown_time": 60, "num_retries": 1}}
    return [proxy(config, environment={"REDIS_URL": redis.url}) for _ in range(2)]


def ask(proxy: RunningProxy) -> httpx.Response:
    return httpx.post(
        proxy.url + "/v1/chat/completions",
        headers={"authorization": f"Bearer {proxy.master_key}"},
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    )


def asked(fake: FakeProvider, proxy: RunningProxy, times: int) -> list[str | None]:
    before = len(fake.requests)
    for _ in range(times):
        assert ask(proxy).status_code == 200
    return [r.model for r in fake.requests[before:]]


def cool_down(fake: FakeProvider, proxy: RunningProxy) -> None:
    """Sends requests until `one` has failed once."""
    fake.always(failing(429, retry_after=60), model="one")
    while not any(r.model == "one" for r in fake.requests):
        assert ask(proxy).status_code == 200


def test_a_replica_avoids_a_deployment_that_another_found_failing(proxy, fake, redis, tmp_path):
    first, second = start_two(proxy, fake, redis, tmp_path)
    cool_down(fake, first)
    time.sleep(2.5)  # two polls
    assert asked(fake, second, 12) == ["two"] * 12


def test_without_redis_replicas_continue_alone_and_share_again_when_it_is_back(proxy, fake, redis, tmp_path):
    first, second = start_two(proxy, fake, redis, tmp_path)
    redis.stop()
    deadline = time.monotonic() + 10
    while "redis_lost" not in first.log() and time.monotonic() < deadline:
        assert ask(first).status_code == 200
    assert "redis_lost" in first.log()
    redis.start()
    deadline = time.monotonic() + 20
    while not all("redis_back" in p.log() for p in (first, second)):
        assert time.monotonic() < deadline, second.log()
        time.sleep(0.1)
    fake.reset()
    cool_down(fake, first)
    time.sleep(2.5)
    assert asked(fake, second, 12) == ["two"] * 12
