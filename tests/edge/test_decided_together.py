"""Requests that arrive at the same time are admitted in one transaction. A fault in it is a matter of each of them."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge.conftest import SharedEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment, wait_for

AT_ONCE = 24
SOURCE = (Path(__file__).parents[2] / "worker" / "edge/objects/ledger.py").read_text()
# Every request is decided with others, however slow this machine is.
ALWAYS = {
    "CLOSELY_MS = 20\n": "CLOSELY_MS = 3_600_000\n",
    "FEW_RUNNING = 3\n": "FEW_RUNNING = 0\n",
    "TOGETHER_MS = 3\n": "TOGETHER_MS = 100\n",
}
DECIDES = "            results = self._admit(tuple("
BREAKS_OFF = """            if len(some) {}:
                self._storage.sql.exec("no such statement")
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        one.always(Behaviour(usage=(10, 5), delay=0.05))
        yield one


def config(provider: FakeProvider) -> dict[str, Any]:
    router = {"num_retries": 0, "disable_cooldowns": True}
    return {"model_list": [deployment(provider, "gpt")], "router_settings": router}


def changed(*changes: dict[str, str]) -> dict[str, str]:
    """The object's source with these changes."""
    source = SOURCE
    for change in (ALWAYS, *changes):
        for old, new in change.items():
            assert source.count(old) == 1, old
            source = source.replace(old, new)
    return {"edge/objects/ledger.py": source}


def asked_at_once(money: Money, keys: list[str]) -> list[httpx.Response]:
    assert money.ask(keys[0]).status_code == 200  # starts the container
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(money.ask, keys)]


def nothing_is_open(money: Money) -> None:
    spend = wait_for(money.spend, lambda found: found["running_requests"] == 0, 20)
    everything = sum(line["spend"] for line in money.logs())
    assert (spend["spend"], spend["reserved"]) == (pytest.approx(everything), 0)


def test_each_gets_its_own_answer(shared_edge: SharedEdge, provider: FakeProvider) -> None:
    money = Money(shared_edge(config(provider), replaced=changed()))
    rich, poor = money.key(max_budget=1), money.key(max_budget=0)
    answers = asked_at_once(money, [rich, poor, "sk-nobody"] * (AT_ONCE // 3))
    assert [answer.status_code for answer in answers] == [200, 429, 401] * (AT_ONCE // 3)
    created = Counter(line["startTime"] for line in money.settled(rich, AT_ONCE // 3 + 1))
    assert max(created.values()) > 1, "some were admitted in one transaction"
    nothing_is_open(money)


def test_a_slot_is_given_once(shared_edge: SharedEdge, provider: FakeProvider) -> None:
    money = Money(shared_edge(config(provider), replaced=changed(), vars={"BUDGET_PATIENCE": "0"}))
    key = money.key(max_parallel_requests=2)
    statuses = Counter(answer.status_code for answer in asked_at_once(money, [key] * AT_ONCE))
    assert set(statuses) == {200, 429}
    assert max(Counter(line["startTime"] for line in money.settled(key, statuses[200] + 1)).values()) <= 2
    nothing_is_open(money)


def test_requests_that_cannot_be_decided_together_are_decided_alone(
    shared_edge: SharedEdge, provider: FakeProvider
) -> None:
    fault = changed({DECIDES: BREAKS_OFF.format("> 1") + DECIDES})
    money = Money(shared_edge(config(provider), replaced=fault))
    key = money.key(max_budget=1)
    assert [answer.status_code for answer in asked_at_once(money, [key] * AT_ONCE)] == [200] * AT_ONCE
    money.settled(key, AT_ONCE + 1)
    nothing_is_open(money)


def test_a_request_that_cannot_be_decided_at_all_is_refused(shared_edge: SharedEdge, provider: FakeProvider) -> None:
    fault = changed({DECIDES: BREAKS_OFF.format("> 1 or some[0].ask.secret_hash is None") + DECIDES})
    money = Money(shared_edge(config(provider), replaced=fault))
    key = money.key(max_budget=1)
    assert money.edge.master_key is not None
    answers = asked_at_once(money, [key, money.edge.master_key] * (AT_ONCE // 2))
    assert [answer.status_code for answer in answers] == [200, 503] * (AT_ONCE // 2)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers[1::2])
    nothing_is_open(money)
