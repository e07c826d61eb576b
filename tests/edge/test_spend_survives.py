"""Whichever process is killed: the ledger balances, nothing is lost, nothing is counted twice."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.edge import proxy_image
from dev.process_engine.containers import Image
from tests.edge.conftest import StartEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for

CLIENTS = 12
LEDGER = (Path(__file__).parents[2] / "worker" / "edge/objects/ledger.py").read_text()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        one.always(Behaviour(usage=(10, 5), pace=0.02, chunks=10, text="word " * 10))
        yield one


@pytest.fixture
def config(provider: FakeProvider) -> dict[str, Any]:
    router = {"num_retries": 0, "disable_cooldowns": True}
    return {"model_list": [deployment(provider, "gpt")], "router_settings": router}


class Load:
    """Clients that send requests as fast as they can, plain and streamed, until the block ends."""

    def __init__(self, money: Money) -> None:
        self.money = money
        self.keys = [money.key(max_budget=10, key_alias=f"client-{number}") for number in range(CLIENTS)]
        self.answered = 0
        self.asked = 0
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._done: list[Future[None]] = []

    def __enter__(self) -> "Load":
        self._done = [self._pool.submit(self._ask, key, number) for number, key in enumerate(self.keys)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in self._done:
            one.result(60)
        self._pool.shutdown()

    def _ask(self, key: str, number: int) -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=self.money.edge.url, headers=headers, timeout=30) as client:
            while not self._over.is_set():
                self.asked += 1
                try:
                    answer = client.post("/v1/chat/completions", json=chat(stream=number % 2 == 0))
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                self.answered += answer.status_code == 200 and "error" not in answer.text


def balanced(money: Money, keys: list[str], seconds: float = 20.0) -> list[dict[str, Any]]:
    """Waits until nothing runs, checks that log, keys and global spend agree, and returns the log lines."""
    spend = wait_for(money.spend, lambda found: found["running_requests"] == 0, seconds)
    assert spend["reserved"] == 0
    lines: list[dict[str, Any]] = []
    for key in keys:
        own = whole_log(money, key)
        if key != "master":
            assert nano(money.info(key)["spend"]) == sum(nano(line["spend"]) for line in own)
        lines += own
    assert nano(spend["spend"]) == sum(nano(line["spend"]) for line in lines)
    assert len({line["request_id"] for line in lines}) == len(lines)
    return lines


def whole_log(money: Money, key: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    query: dict[str, Any] = {"key": key, "size": 1000}
    while True:
        page = money.admin("/spend/logs", **query)
        lines += page["data"]
        if page["next"] is None:
            return lines
        query["after"] = page["next"]


def leases_of(seconds: int) -> dict[str, str]:
    """The Worker's sources with leases short enough for a test."""
    short = LEDGER.replace("LEASE_MS = 120_000", f"LEASE_MS = {seconds}_000")
    assert short != LEDGER
    return {"edge/objects/ledger.py": short}


def nano(usd: float) -> int:
    return round(usd * 1e9)


def test_a_container_killed_under_load(start_edge: StartEdge, config: dict[str, Any]):
    money = Money(start_edge(config, replaced=leases_of(8)))
    assert money.ask().status_code == 200
    before = nano(money.settled("master")[0]["spend"])
    with Load(money) as load:
        for _ in range(2):
            wanted = load.answered + 40
            wait_for(lambda wanted=wanted: load.answered, lambda found, wanted=wanted: found > wanted, 60)
            money.edge.kill_container()
        wanted = load.answered + 40
        wait_for(lambda: load.answered, lambda found: found > wanted, 60)
    lines = balanced(money, [*load.keys, "master"])
    assert before == 20_000
    lost = [line for line in lines if line["state"] == "expired"]
    settled = [line for line in lines if line["state"] == "settled"]
    assert lost, "some ran when their container was killed"
    assert all(nano(line["spend"]) == nano(line["reserved"]) for line in lost), "nobody knows better: in full"
    # The report of an answer sent just before the kill may not have been fetched.
    assert len([line for line in settled if line["status"] == 200]) + len(lost) >= load.answered


def test_a_worker_killed_under_load_while_its_container_survives(start_edge: StartEdge, config: dict[str, Any]):
    money = Money(start_edge(config, replaced=leases_of(8)))
    with Load(money) as load:
        wait_for(lambda: load.answered, lambda found: found > 40, 60)
        money.edge.kill_worker()
        time.sleep(0.5)  # lets the container finish its running requests
        money.edge.start_worker()
        wanted = load.answered + 40
        wait_for(lambda: load.answered, lambda found: found > wanted, 60)
    lines = balanced(money, load.keys)
    # Nobody can know the outcome of requests that were admitted but not forwarded when the worker was killed.
    lost = [line for line in lines if line["state"] == "expired"]
    assert len(lost) <= CLIENTS
    assert all(nano(line["spend"]) == nano(line["reserved"]) for line in lost)
    assert len([line for line in lines if line["status"] == 200]) >= load.answered
    assert len(money.edge.containers(None)) == 1


def test_an_alarm_fetches_the_reports_that_a_killed_worker_left(
    start_edge: StartEdge, config: dict[str, Any], provider: FakeProvider
):
    provider.always(Behaviour(usage=(10, 5), pace=0.3, chunks=10, text="word " * 10))
    money = Money(start_edge(config))
    key = money.key(max_budget=10)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(money.ask, key, stream=True)
        wait_for(lambda: provider.requests, bool)
        money.edge.kill_worker()
        with pytest.raises(httpx.HTTPError):
            asking.result(10)
    money.edge.start_worker()
    (line,) = money.settled(key, seconds=20)
    assert (line["status"], line["state"]) == (499, "settled")
    balanced(money, [key])


def test_a_long_stream_keeps_its_reservation(start_edge: StartEdge, config: dict[str, Any], provider: FakeProvider):
    """With leases of six seconds, renewed every second."""
    edge = start_edge(config, replaced=leases_of(6))
    path = edge.offline.directory / "litellm_config.yaml"
    edge.set_image(impatient(path))
    money = Money(edge)
    key = money.key(max_budget=10)
    assert money.ask().status_code == 200
    provider.always(Behaviour(usage=(10, 5), pace=0.5, chunks=24, text="word " * 24))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(money.ask, key, stream=True)
        wait_for(money.spend, lambda found: found["running_requests"] == 1)
        seen = []
        while not asking.done():
            seen.append(money.spend()["running_requests"])
            time.sleep(0.2)
        assert "[DONE]" in asking.result().text
    assert set(seen[:-3]) == {1}
    assert len(seen) > 30
    (line,) = money.settled(key)
    assert (line["state"], line["status"], nano(line["spend"])) == ("settled", 200, 20_000)


def impatient(config: Path) -> Image:
    """The proxy, renewing leases every second."""
    image = proxy_image(config)
    python, _, _, *arguments = image.command
    code = (
        "import sys, container.accounting.edge as journal; journal.RENEW_SECONDS = 1.0; "
        "from container.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    return Image((python, "-c", code, *arguments))
