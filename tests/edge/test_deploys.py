"""Deploys change the Worker at once and the objects later.

A request is served and charged under the configuration it was reserved with. A new configuration refuses no request and
restarts no container.
"""

import dataclasses
import itertools
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from container.config.load import load
from container.proxy import catalog
from dev.offline.build import Version
from tests.edge.conftest import MASTER_KEY, ROOT, Edge, StartEdge, wait_for
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.money import wait_for as wait_until

VARS = {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true"}
PLAIN = Behaviour(usage=(10, 5))
# `DEPLOYS=10` runs as many of each kind.
ROUNDS = int(os.environ.get("DEPLOYS", "2"))


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


def config(
    provider: FakeProvider, *, price: float, models: tuple[str, ...] = ("gpt",), **sections: Any
) -> dict[str, Any]:
    found = [deployment(provider, name, input_cost_per_token=price, output_cost_per_token=price) for name in models]
    for one in found:
        one["litellm_params"]["api_key"] = "os.environ/PROVIDER_KEY"
    return {"model_list": found, "router_settings": {"num_retries": 0, "disable_cooldowns": True}, **sections}


def version(directory: Path, content: Mapping[str, Any], **vars: str) -> Version:
    path = directory / "litellm_config.yaml"
    path.write_text(yaml.safe_dump(dict(content)))
    return Version({**VARS, **vars}, {"catalog.py": catalog.source(load(path, {}))})


class Deployed:
    """An edge whose objects run the first version, and the Worker's versions by number."""

    def __init__(self, edge: Edge) -> None:
        self.money = Money(edge)
        self._urls = [edge.url, *edge.offline.version_urls]
        self._clients = [httpx.Client(base_url=url, timeout=60) for url in self._urls]

    def ask(self, version: int, key: str = MASTER_KEY, **fields: Any) -> httpx.Response:
        body = {"model": "gpt", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}], **fields}
        headers = {"authorization": f"Bearer {key}"}
        return self._clients[version].post("/v1/chat/completions", json=body, headers=headers)


@pytest.fixture(scope="module")
def deployed(
    start_module_edge: StartEdge, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Deployed:
    provider.always(PLAIN)
    declared = {"virtual_keys": [{"key": "os.environ/TEAM_KEY", "key_alias": "team", "max_budget": 0.001}]}
    dear = config(provider, price=0.002, models=("gpt", "new"), general_settings=declared)
    edge = start_module_edge(
        config(provider, price=0.001),
        vars={"PROVIDER_KEY": "sk-first"},
        versions=[
            version(tmp_path_factory.mktemp("dear"), dear, PROVIDER_KEY="sk-first", TEAM_KEY="sk-team-of-the-tests"),
            version(
                tmp_path_factory.mktemp("rotated"),
                config(provider, price=0.001, general_settings=declared),
                PROVIDER_KEY="sk-second",
                TEAM_KEY="sk-team-of-the-tests",
            ),
        ],
    )
    return Deployed(edge)


def test_a_changed_price_applies_from_the_first_request_in_both_directions(deployed: Deployed):
    money = deployed.money
    key = money.key(max_budget=10)
    for which in (0, 1, 0, 1, 1, 0):
        assert deployed.ask(which, key).status_code == 200
    lines = money.settled(key, 6)
    assert sorted(line["spend"] for line in lines) == pytest.approx([0.015] * 3 + [0.03] * 3)
    assert len(money.edge.containers(None)) == 1


def test_a_new_model_works_at_once_and_only_where_it_is_deployed(deployed: Deployed):
    assert deployed.ask(1, model="new").status_code == 200
    assert deployed.ask(0, model="new").status_code == 404


def test_a_rotated_secret_is_used_from_the_first_request_by_the_same_container(
    deployed: Deployed, provider: FakeProvider
):
    pid = deployed.money.edge.container_pid
    for which, secret in ((0, "sk-first"), (2, "sk-second"), (0, "sk-first")):
        assert deployed.ask(which).status_code == 200
        assert provider.last.api_key == secret
    assert deployed.money.edge.container_pid == pid


def test_a_new_budget_applies_from_the_first_request(deployed: Deployed):
    """The key is declared only in the new configuration. Its budget of 0.001 is less than one answer may cost."""
    assert deployed.ask(1, "sk-team-of-the-tests").json()["error"]["code"] == "budget_exceeded"


def test_an_upload_is_charged_under_the_configuration_it_arrived_with(deployed: Deployed):
    key = deployed.money.key(max_budget=1000)
    large = [{"role": "user", "content": "x" * 100_000}]
    assert [deployed.ask(which, key, messages=large).status_code for which in (0, 1)] == [200, 200]
    assert sorted(line["spend"] for line in deployed.money.settled(key, 2)) == pytest.approx([0.015, 0.03])


def test_a_stream_ends_under_its_own_configuration(deployed: Deployed, provider: FakeProvider):
    key = deployed.money.key(max_budget=10)
    provider.queue(Behaviour(text="one two three four", chunks=6, pace=0.5, usage=(10, 5)))
    with ThreadPoolExecutor(1) as pool:
        before = len(provider.requests)
        running: Future[httpx.Response] = pool.submit(deployed.ask, 0, key, stream=True)
        provider.wait_for(lambda: len(provider.requests) > before and provider.last.events_sent, 30)
        assert deployed.ask(1, key).status_code == 200
        assert running.result(30).text.endswith("data: [DONE]\n\n")
    assert sorted(line["spend"] for line in deployed.money.settled(key, 2)) == pytest.approx([0.015, 0.03])


@pytest.mark.timeout(300)
def test_no_request_fails_during_repeated_deploys(
    start_edge: StartEdge, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory
):
    """Sixteen clients, plain and streamed, while the configuration alternates and the Worker's code, a secret and the
    image change. A new image replaces the containers one after another.
    """
    provider.always(Behaviour(text="one two three", chunks=4, pace=0.05, usage=(10, 5)))
    directory = tmp_path_factory.mktemp
    other_code = {"edge/requests.py": (ROOT / "worker/edge/requests.py").read_text() + "\nDEPLOYED = 'again'\n"}
    cheap, dear = config(provider, price=0.001), config(provider, price=0.002)
    changed = version(directory("dear"), dear, PROVIDER_KEY="sk-first")
    rotated = version(directory("rotated"), cheap, PROVIDER_KEY="sk-second")
    same = version(directory("code"), cheap, PROVIDER_KEY="sk-first")
    edge = start_edge(
        cheap,
        vars={"PROVIDER_KEY": "sk-first"},
        versions=[changed, rotated, dataclasses.replace(same, replaced={**same.replaced, **other_code})],
    )
    deployed = Deployed(edge)
    keys = [deployed.money.key(max_budget=100) for _ in range(16)]
    now, ended, answers = [0], threading.Event(), []

    def client(number: int) -> None:
        for turn in itertools.count():
            if ended.is_set():
                return
            answer = deployed.ask(now[0], keys[number], stream=(number + turn) % 2 == 0)
            whole = "[DONE]" in answer.text or '"usage"' in answer.text
            answers.append((answer.status_code, whole, answer.headers["x-request-id"]))

    with ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, number) for number in range(16)]
        try:
            for _ in range(ROUNDS):
                for which in (1, 0, 2, 3):
                    now[0] = which
                    at_least(answers, 16)
                old = edge.containers()[0].pid
                assert old is not None
                os.kill(old, signal.SIGTERM)
                wait_for(lambda old=old: all(one.pid != old for one in edge.containers()), "the old one's end", 60)
                at_least(answers, 16)
        finally:
            ended.set()
        for one in clients:
            one.result(60)
    failed = [id for status, whole, id in answers if (status, whole) != (200, True)]
    assert failed == [], [line for line in edge.lines if any(id in line for id in failed)]

    def settled() -> list[float]:
        lines = [line for key in keys for line in deployed.money.logs(key)]
        return [line["spend"] for line in lines if line["state"] == "settled"]

    spent = wait_until(settled, lambda found: len(found) >= len(answers))
    assert len(spent) == len(answers), "one admission each"
    assert {round(one, 6) for one in spent} == {0.015, 0.03}
    spend = deployed.money.spend()
    assert (spend["running_requests"], spend["reserved"]) == (0, 0)
    assert spend["spend"] == pytest.approx(sum(spent))


def at_least(answers: list[Any], more: int) -> None:
    """Waits for this many further answers."""
    wanted = len(answers) + more
    wait_for(lambda: len(answers) >= wanted, f"{more} answers", 60)
