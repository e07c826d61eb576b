"""Replacing a container that is serving: new settings, a new image, SIGTERM.

Running requests finish in the old container, new ones go to its successor, and both are settled.
"""

import dataclasses
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests import forked
from tests.edge.conftest import MASTER_KEY, StartEdge, wait_for
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment
from worker.edge.requests import FIRST, candidates

WORDS = "one two three four five six seven eight nine ten"
SLOW = Behaviour(text=WORDS, chunks=12, pace=0.5)
SECRETS = {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true"}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as one:
        yield one


def config(provider: FakeProvider, key: str = "sk-provider", **info: Any) -> dict[str, Any]:
    model = deployment(provider, "gpt", **info)
    model["litellm_params"]["api_key"] = key
    return {"model_list": [model], "router_settings": {"num_retries": 0, "disable_cooldowns": True}}


def streaming(
    pool: ThreadPoolExecutor, provider: FakeProvider, money: Money, key: str, behaviour: Behaviour = SLOW
) -> Future[httpx.Response]:
    """A six-second stream that has started."""
    before = len(provider.requests)
    provider.queue(behaviour)
    asking = pool.submit(money.ask, key, stream=True)
    provider.wait_for(lambda: len(provider.requests) > before and provider.last.events_sent, 30)
    return asking


def test_after_sigterm_streams_finish_and_new_requests_go_to_the_next_instance(
    start_edge: StartEdge, provider: FakeProvider, pool: ThreadPoolExecutor
):
    money = Money(start_edge(config(provider), vars={"CONTAINER_INSTANCES": "2"}))
    key = next(key for key in iter(lambda: money.key(max_budget=1, rpm_limit=2), "") if candidates(2, key)[0] == FIRST)
    running = streaming(pool, provider, money, key)
    first = money.edge.container_pid
    os.kill(first, signal.SIGTERM)
    assert money.ask(key).status_code == 200
    assert not running.done()
    assert len(money.edge.containers()) == 2
    assert running.result(30).text.endswith("data: [DONE]\n\n")
    wait_for(lambda: all(found.pid != first for found in money.edge.containers()), "the end of the first one", 30)
    lines = money.settled(key, 2)
    assert [(line["state"], line["status"]) for line in lines] == [("settled", 200)] * 2, "one admission each"
    assert money.spend()["running_requests"] == 0


def test_after_sigterm_of_the_only_instance_another_serves_until_its_successor_is_ready(
    start_edge: StartEdge, provider: FakeProvider, pool: ThreadPoolExecutor
):
    money = Money(start_edge(config(provider)))
    key = money.key(max_budget=1)
    running = streaming(pool, provider, money, key, dataclasses.replace(SLOW, pace=1))
    first = money.edge.container_pid
    os.kill(first, signal.SIGTERM)
    large = {"content": "x" * 100_000}  # parked, so it can be sent only once
    refused = money.ask(key, **large)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    meanwhile = [pool.submit(money.ask, key), pool.submit(money.ask, key, **large)]
    assert [answer.result(30).status_code for answer in meanwhile] == [200, 200]
    assert first in [found.pid for found in money.edge.containers()]
    assert running.result(30).text.endswith("data: [DONE]\n\n")
    wait_for(lambda: first not in [found.pid for found in money.edge.containers()], "its end", 30)
    assert money.ask(key).status_code == 200
    # The refused one has a line, too, if the container noticed the signal only after it had the request.
    wait_for(lambda: sum(line["status"] == 200 for line in money.logs(key)) == 4, "one line each", 10)
    assert all(line["status"] == 200 or line["spend"] == 0 for line in money.logs(key))
    assert money.spend()["running_requests"] == 0


def test_a_process_setting_replaces_the_container_after_its_requests_finish(
    start_edge: StartEdge, provider: FakeProvider, pool: ThreadPoolExecutor
):
    """The stream goes directly to the container, because one through the Worker would end with the Worker's process."""
    vars = {**SECRETS, "PROVIDER_KEY": "sk-before"}
    edge = start_edge(config(provider, "os.environ/PROVIDER_KEY"), vars=vars)
    money = Money(edge)
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    assert provider.last.api_key == "sk-before"
    (old,) = edge.containers()
    asked = provider.last
    headers = {
        "x-internal-token": old.environment["INTERNAL_TOKEN"],
        "x-internal-grant": '{"reservation": "of-the-test"}',
        "x-internal-catalog": catalog_of(edge.offline.replaced["catalog.py"]),
    }
    provider.queue(SLOW)
    url = f"http://127.0.0.1:{old.local_port}/v1/chat/completions"
    running = pool.submit(httpx.post, url, json=chat(stream=True), headers=headers, timeout=30)
    provider.wait_for(lambda: provider.last is not asked and provider.last.events_sent, 30)
    edge.offline.deploy({**vars, "PROVIDER_KEY": "sk-after", "LITELLM_LOG_LEVEL": "DEBUG"})
    with ThreadPoolExecutor(5) as clients:
        answers = list(clients.map(lambda _: money.ask(key), range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert {seen.api_key for seen in provider.requests[-5:]} == {"sk-after"}
    assert [found.pid for found in edge.containers()] != [old.pid]
    assert '"in_time": true' in edge.wait_for_log("container_retired")
    assert running.result(30).text.endswith("data: [DONE]\n\n")
    assert len(money.settled(key, 6)) == 6


def test_after_a_secret_rotation_the_container_is_found_again(start_edge: StartEdge, provider: FakeProvider):
    vars = {**SECRETS, "PROVIDER_KEY": "sk-before"}
    edge = start_edge(config(provider, "os.environ/PROVIDER_KEY"), vars=vars)
    money = Money(edge)
    assert money.ask().status_code == 200
    pid = edge.container_pid
    edge.offline.deploy({**vars, "PROVIDER_KEY": "sk-after", "CORS_ALLOW_ORIGINS": "*"})
    assert money.ask().status_code == 200
    assert provider.last.api_key == "sk-after"
    assert edge.container_pid == pid


def test_the_config_in_the_image_does_not_matter(start_edge: StartEdge, provider: FakeProvider, tmp_path: Path):
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(config(provider, input_cost_per_token=0.5)))
    money = Money(start_edge(config(provider), image=forked.image(other)))
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    (line,) = money.settled(key)
    assert 0 < line["spend"] < 0.01


def catalog_of(source: str) -> str:
    found: dict[str, Any] = {}
    exec(source, found)
    return found["CATALOG"]["hash"]
