"""`litellm_settings.cache` in Redis: only the same request by the same key is answered from the cache."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import deployment, wait_for
from tests.processes import MASTER_KEY, RunningProxy, StartProxy, free_tcp_port
from tests.redis_server import RedisServer

MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, free_tcp_port()) as server:
        yield server


def started(proxy: StartProxy, fakes: list[FakeProvider], redis: RedisServer, **params: Any) -> RunningProxy:
    spares = [deployment(one, "spare") for one in fakes[1:]]
    return proxy(
        {
            "model_list": [deployment(fakes[0], "gpt"), *spares],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "litellm_settings": {
                "cache": True,
                "cache_params": {"type": "redis", **params},
                "fallbacks": [{"gpt": ["spare"]}] if spares else [],
            },
        },
        environment={"REDIS_URL": redis.url},
    )


@pytest.fixture
def gateway(proxy: StartProxy, fake: FakeProvider, redis: RedisServer) -> RunningProxy:
    return started(proxy, [fake], redis)


def ask(
    gateway: RunningProxy,
    content: str = "Hi",
    *,
    key: str = MASTER_KEY,
    headers: dict[str, str] | None = None,
    **fields,
) -> httpx.Response:
    body = {"model": "gpt", "messages": [{"role": "user", "content": content}], **fields}
    authorized = {"authorization": f"Bearer {key}", **(headers or {})}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=authorized, timeout=30)


def kept(gateway: RunningProxy, content: str = "Hi", **more: Any) -> httpx.Response:
    """Repeats a request until its response is served from the cache, which is written a moment later."""
    end = time.monotonic() + 10
    while (answer := ask(gateway, content, **more)).headers.get("x-cache") != "hit":
        assert time.monotonic() < end, answer.headers
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_is_answered_once_by_the_provider(gateway: RunningProxy, fake: FakeProvider, stream: bool):
    first = ask(gateway, stream=stream)
    assert (first.status_code, first.headers["x-cache"]) == (200, "miss")
    again = kept(gateway, stream=stream)
    asked = len(fake.requests)
    assert kept(gateway, stream=stream).content == again.content
    assert len(fake.requests) == asked
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-litellm-cache-key"] == first.headers["x-litellm-cache-key"]
    if stream:
        assert again.content.endswith(b"data: [DONE]\n\n")


def test_a_different_request_is_not_a_hit(gateway: RunningProxy):
    ask(gateway)
    kept(gateway)
    for more in ({"temperature": 0.5}, {"stream": True}, {"max_tokens": 7}, {"user": "u"}):
        assert ask(gateway, **more).headers["x-cache"] == "miss", more
    assert ask(gateway, "Ho").headers["x-cache"] == "miss"


def test_a_key_is_not_answered_from_another_keys_entries(gateway: RunningProxy):
    one, other = (httpx.post(f"{gateway.url}/key/generate", json={}, headers=MASTER).json()["key"] for _ in range(2))
    ask(gateway, key=one)
    kept(gateway, key=one)
    assert ask(gateway, key=other).headers["x-cache"] == "miss"
    assert ask(gateway).headers["x-cache"] == "miss"
    httpx.post(f"{gateway.url}/key/block", json={"key": one}, headers=MASTER)
    assert ask(gateway, key=one).status_code == 401


def test_a_cache_hit_costs_nothing_and_is_in_the_spend_log(gateway: RunningProxy):
    ask(gateway)
    assert kept(gateway).headers["x-litellm-response-cost"] == "0"
    lines = httpx.get(f"{gateway.url}/spend/logs", headers=MASTER).json()["data"]
    assert (lines[0]["spend"], lines[0]["status"], lines[0]["model"]) == (0.0, 200, "gpt")
    assert lines[-1]["spend"] > 0
    assert 'litellm_router_cache_hits_total{model="gpt"} 1' in httpx.get(f"{gateway.url}/metrics", headers=MASTER).text


@pytest.mark.parametrize("how", [{"headers": {"cache-control": "no-cache"}}, {"cache": {"no-cache": True}}])
def test_no_cache_skips_the_lookup(gateway: RunningProxy, fake: FakeProvider, how: dict[str, Any]):
    ask(gateway)
    kept(gateway)
    before = len(fake.requests)
    assert ask(gateway, **how).headers["x-cache"] == "miss"
    assert len(fake.requests) == before + 1
    assert "cache" not in fake.last.body


@pytest.mark.parametrize("how", [{"headers": {"cache-control": "no-store"}}, {"cache": {"no-store": True}}])
def test_no_store_skips_the_write(gateway: RunningProxy, fake: FakeProvider, how: dict[str, Any]):
    for _ in range(2):
        assert ask(gateway, **how).headers["x-cache"] == "miss"
    ask(gateway, "another")
    kept(gateway, "another")  # by now the others would be stored
    assert ask(gateway).headers["x-cache"] == "miss"


def test_failures_broken_streams_and_fallbacks_are_not_cached(
    proxy: StartProxy, fake: FakeProvider, second_fake: FakeProvider, redis: RedisServer
):
    gateway = started(proxy, [fake, second_fake], redis)
    fake.queue(Behaviour(Fault.RESET_MID_STREAM), Behaviour(Fault.ERROR_MID_STREAM), failing(400), failing(500))
    ask(gateway, stream=True)
    ask(gateway, stream=True)
    assert ask(gateway).status_code == 400
    assert ask(gateway).status_code == 200  # the fallback's
    ask(gateway, "another")
    kept(gateway, "another")
    assert ask(gateway, stream=True).headers["x-cache"] == "miss"
    assert ask(gateway).headers["x-cache"] == "miss"


def test_entries_expire_after_their_ttl(proxy: StartProxy, fake: FakeProvider, redis: RedisServer):
    gateway = started(proxy, [fake], redis, ttl=0.5)
    ask(gateway)
    kept(gateway)
    end = time.monotonic() + 10
    while ask(gateway).headers["x-cache"] == "hit":
        assert time.monotonic() < end
        time.sleep(0.1)


def test_without_redis_requests_are_served_uncached(gateway: RunningProxy, redis: RedisServer):
    ask(gateway)
    kept(gateway)
    redis.stop()
    for _ in range(3):
        answer = ask(gateway)
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "miss")
    said = wait_for(gateway.log, lambda text: '"cache_lost"' in text)  # lines are written a moment after the response
    assert said.count('"cache_lost"') == 1


@pytest.mark.parametrize("wrong", [{"ttl": 5}, {"no-cache": "yes"}, "no-cache"])
def test_invalid_cache_parameters_are_refused(gateway: RunningProxy, fake: FakeProvider, wrong: Any):
    assert ask(gateway, cache=wrong).status_code == 400
    assert not fake.requests


def test_embeddings_are_cached(gateway: RunningProxy, fake: FakeProvider):
    body = {"model": "gpt", "input": "Hi"}
    found = []
    end = time.monotonic() + 10
    while "hit" not in found and time.monotonic() < end:
        answer = httpx.post(f"{gateway.url}/v1/embeddings", json=body, headers=MASTER)
        assert answer.json()["data"]
        found.append(answer.headers["x-cache"])
    assert (found[0], found[-1]) == ("miss", "hit")
