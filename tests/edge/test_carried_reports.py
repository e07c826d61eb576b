"""A report carried by a plain response is settled once, even if an object or container dies before storing it."""

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import Edge, SharedEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for

WORKER = Path(__file__).parents[2] / "worker"
COST = 0.00002


@pytest.fixture(scope="module")
def module_provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture
def provider(module_provider: FakeProvider) -> FakeProvider:
    module_provider.reset()
    module_provider.always(Behaviour(usage=(10, 5)))
    return module_provider


@pytest.fixture
def config(provider: FakeProvider) -> dict[str, Any]:
    router = {"num_retries": 0, "disable_cooldowns": True}
    return {"model_list": [deployment(provider, "gpt")], "router_settings": router}


def changed(path: str, old: str, new: str) -> Mapping[str, str]:
    """The Worker's sources with this change."""
    source = (WORKER / path).read_text()
    assert source.count(old) == 1
    return {path: source.replace(old, new)}


NEVER_WRITTEN = changed("edge/objects/ledger.py", "WRITE_AFTER_MS = 100\n", "WRITE_AFTER_MS = 3_600_000\n")
CANNOT_BE_WRITTEN = changed(
    "edge/objects/ledger.py",
    "        reports = [one.report for one in carried]\n        try:\n",
    "        reports = [one.report for one in carried]\n        try:\n"
    "            self._storage.sql.exec('no such statement')\n",
)
HAS_NO_MEANING = changed(
    "edge/objects/own_container.py", "CarriedReport.decode(text)", "CarriedReport.decode(text + '!')"
)


def once(money: Money, key: str, lines: int = 1) -> None:
    """Checks that each request is settled once, at its cost."""
    found = money.settled(key, lines, seconds=20)
    wait_for(money.spend, lambda spend: spend["running_requests"] == 0, 20)
    found = money.settled(key, lines)
    assert [(line["state"], line["status"]) for line in found] == [("settled", 200)] * lines
    assert money.info(key)["spend"] == pytest.approx(lines * COST)
    spend = money.spend()
    everything = sum(line["spend"] for line in money.logs())
    assert (spend["spend"], spend["reserved"]) == (pytest.approx(everything), 0)


def test_the_object_dies_before_storing_the_report(shared_edge: SharedEdge, config: dict[str, Any]) -> None:
    money = Money(shared_edge(config, replaced=NEVER_WRITTEN))
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    money.edge.kill_worker()
    money.edge.start_worker()
    once(money, key)


def test_the_container_dies_before_the_report_is_acknowledged(shared_edge: SharedEdge, config: dict[str, Any]) -> None:
    money = Money(shared_edge(config, replaced=NEVER_WRITTEN))
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    money.edge.kill_container()
    once(money, key)
    assert money.ask(key).status_code == 200
    once(money, key, 2)


@pytest.mark.parametrize("fault", [CANNOT_BE_WRITTEN, HAS_NO_MEANING], ids=["cannot be written", "has no meaning"])
def test_a_report_that_the_object_cannot_read_is_fetched_from_the_journal(
    shared_edge: SharedEdge, config: dict[str, Any], fault: Mapping[str, str]
) -> None:
    money = Money(shared_edge(config, replaced=fault))
    key = money.key(max_budget=1)
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: money.ask(key), range(12))]
    assert [answer.status_code for answer in answers] == [200] * 12, "no request depends on another one's report"
    assert not [name for name in answers[0].headers if name.startswith("x-internal")]
    once(money, key, 12)


@pytest.mark.parametrize("resets", [True, False], ids=["resets", "closes"])
def test_a_client_that_disconnects_before_a_plain_answer_pays_once(
    shared_edge: SharedEdge, config: dict[str, Any], provider: FakeProvider, resets: bool
) -> None:
    money = Money(shared_edge(config))
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    provider.always(Behaviour(usage=(10, 5), delay=1.5))
    leaves(money.edge, key, resets)
    lines = money.settled(key, 2, seconds=20)
    # workerd cannot tell a half-closed connection from one that still waits for its response.
    assert sorted((line["state"], line["status"]) for line in lines) == [
        ("settled", 200),
        ("settled", 499 if resets else 200),
    ]
    spend = wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert spend["reserved"] == 0
    assert spend["spend"] == pytest.approx(sum(line["spend"] for line in money.logs()))


def leaves(edge: Edge, key: str, resets: bool) -> None:
    """Sends a plain request and disconnects half a second later."""
    body = json.dumps({**chat(), "max_tokens": 5}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    with socket.create_connection(("127.0.0.1", int(edge.url.rpartition(":")[2])), 20) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.5)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
