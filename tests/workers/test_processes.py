"""Workers that die, configurations that change, and the end: nothing is lost."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import NewDatabase
from tests.money import chat, deployment, wait_for
from tests.processes import MASTER_KEY, RunningProxy
from tests.reload.conftest import reload
from tests.workers.conftest import HUB, Start, Workers, reached

AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def ledger(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "SQLite":
        return {}
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return {"DATABASE_URL": new_database()}


ByHand = Callable[..., RunningProxy]


@pytest.fixture
def by_hand(fake: FakeProvider, tmp_path: Path) -> Iterator[ByHand]:
    """`by_hand(**options)` starts a proxy with two workers that need not end with 0."""
    made = []

    def start(environment: dict[str, str] | None = None, **options: Any) -> RunningProxy:
        directory = tmp_path / f"by-hand-{len(made)}"
        directory.mkdir()
        config = {"model_list": [deployment(fake, "gpt")]}
        made.append(RunningProxy(config, directory, environment=environment or {"NUM_WORKERS": "2"}, **options))
        return made[-1].__enter__()

    yield start
    for one in made:
        one.kill()


async def test_every_worker_serves(start: Start) -> None:
    gateway = start(4)
    assert set(gateway.processes()) == {HUB, *(f"router worker {number}" for number in range(4))}
    assert set(await gateway.burst(60)) == {200}
    gateway.settled()
    # The second half of an id names the process that made it.
    assert len({line["request_id"][16:] for line in gateway.logs()}) > 1


async def test_metrics_are_those_of_all_workers_and_never_go_back(start: Start) -> None:
    gateway = start(4)
    await gateway.burst(50)
    requests = 'litellm_router_requests_total{endpoint="chat_completions"'
    assert gateway.metric(requests) == 50
    assert gateway.metric("litellm_router_ledger_batch_duration_seconds_count") > 0
    cpu = gateway.metric("process_cpu_seconds_total")
    dead = gateway.kill_a_worker()
    wait_for(gateway.workers, lambda found: dead not in found and len(found) == 4)
    assert gateway.metric(requests) == 50
    assert gateway.metric("process_cpu_seconds_total") >= cpu
    assert gateway.metric("litellm_router_requests_in_flight") == 1  # this one


async def test_requests_in_flight_are_those_of_all_workers(start: Start, fake: FakeProvider) -> None:
    gateway = start(4)
    with fake.holding():
        running = asyncio.create_task(gateway.burst(12))
        await reached(fake, 12)
        assert await asyncio.to_thread(gateway.metric, "litellm_router_deployment_requests_in_flight") == 12
        assert await asyncio.to_thread(gateway.metric, "litellm_router_ledger_open_reservations") == 12
    assert await running == [200] * 12
    assert gateway.metric("litellm_router_deployment_requests_in_flight") == 0


async def test_workers_killed_under_load_lose_nothing(start: Start, fake: FakeProvider, ledger: dict[str, str]) -> None:
    gateway = start(4, environment=ledger)
    key = gateway.key(max_budget=100)
    fake.always("delay=0.05")
    load = asyncio.create_task(gateway.burst(300, key, at_once=24))
    for _ in range(4):
        await asyncio.sleep(0.4)
        before = gateway.workers()
        os.kill(before[0], signal.SIGKILL)
    statuses = await load
    assert set(statuses) <= {200, 0}
    assert statuses.count(200) > 100
    # Long before a reservation's lease of two minutes ends.
    gateway.settled(20)
    lines = gateway.logs(key)
    answered = [line for line in lines if line["status"] == 200]
    # A worker can die between the last byte of an answer and its report.
    assert len(lines) >= statuses.count(200)
    assert len(lines) <= 300
    assert len(answered) <= len(lines)
    assert gateway.info(key)["spend"] == pytest.approx(sum(line["spend"] for line in lines))
    assert gateway.metric("litellm_router_deployment_requests_in_flight") == 0
    assert gateway.ask(key).status_code == 200
    assert len(wait_for(gateway.workers, lambda found: len(found) == 4)) == 4


async def test_what_a_dead_worker_had_open_is_charged_at_once(
    start: Start, fake: FakeProvider, ledger: dict[str, str]
) -> None:
    gateway = start(2, environment=ledger)
    key = gateway.key(max_budget=100, max_parallel_requests=4)
    with fake.holding():
        held = [asyncio.create_task(gateway.burst(1, key, max_tokens=10)) for _ in range(4)]
        await reached(fake, 4)
        reserved = gateway.info(key)["reserved"]
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        assert await asyncio.gather(*held) == [[0]] * 4
        wait_for(lambda: gateway.spend()["running_requests"], lambda found: found == 0, 10)
        assert gateway.info(key)["spend"] == pytest.approx(reserved)
    assert gateway.ask(key).status_code == 200


async def test_a_changed_config_reaches_all_workers(start: Start, fake: FakeProvider) -> None:
    gateway = start(4)
    answer = reload(gateway.proxy, {"model_list": [deployment(fake, "new"), deployment(fake, "gpt")]})
    assert answer["models"] == 2
    assert set(await gateway.burst(40, model="new")) == {200}
    dead = gateway.kill_a_worker()
    wait_for(gateway.workers, lambda found: dead not in found and len(found) == 4)
    assert set(await gateway.burst(40, model="new")) == {200}
    assert gateway.log_count("config_reloaded") == 1


async def test_a_refused_config_changes_nothing(start: Start, fake: FakeProvider) -> None:
    gateway = start(2)
    before = gateway.processes()
    reload(gateway.proxy, "model_list: 7", outcome="config_refused")
    assert set(await gateway.burst(20)) == {200}
    assert gateway.processes() == before


async def test_limits_of_a_changed_config_apply(start: Start, fake: FakeProvider) -> None:
    gateway = start(4)
    models = [deployment(fake, "gpt")]
    reload(gateway.proxy, {"model_list": models, "litellm_settings": {"max_budget": 0.0000001}})
    assert set(await gateway.burst(20)) == {429}


async def test_a_cooldown_survives_a_changed_config(start: Start, fake: FakeProvider) -> None:
    bad, good = deployment(fake, "gpt", "bad"), deployment(fake, "gpt", "good")
    bad["litellm_params"]["weight"], good["litellm_params"]["weight"] = 1_000_000, 1
    router = {"allowed_fails": 0, "cooldown_time": 60, "num_retries": 1}
    gateway = start(4, models=[bad, good], router={"disable_cooldowns": False, **router})
    fake.always("500", model="bad")
    assert gateway.ask().status_code == 200
    reload(gateway.proxy, {"model_list": [deployment(fake, "new"), bad, good], "router_settings": router})
    assert set(await gateway.burst(40)) == {200}
    assert [request.model for request in fake.requests].count("bad") == 1


async def test_the_end_lets_streams_finish(start: Start, fake: FakeProvider) -> None:
    gateway = start(4)
    key = gateway.key()
    fake.always("chunks=20")
    client = gateway.client(key)
    with fake.holding():
        streams = [asyncio.create_task(client.post("/v1/chat/completions", json=chat(stream=True))) for _ in range(16)]
        await reached(fake, 16)
        gateway.proxy.terminate()
        wait_for(lambda: _listens(gateway), lambda found: not found)
    for answer in await asyncio.gather(*streams):
        assert answer.content.rstrip().endswith(b"data: [DONE]")
    await client.aclose()
    assert await asyncio.to_thread(gateway.proxy.wait) == 0
    again = Workers(_again(gateway), 2)
    try:
        assert again.spend()["running_requests"] == 0
        assert [line["status"] for line in again.logs(key)] == [200] * 16
        assert sum(line["estimated"] for line in again.logs(key)) == 0
    finally:
        again.proxy.stop()


async def test_a_second_sigterm_ends_streams(start: Start, fake: FakeProvider) -> None:
    gateway = start(2, environment={"SHUTDOWN_GRACE": "600"})
    with fake.holding():
        held = asyncio.create_task(gateway.burst(6))
        await reached(fake, 6)
        gateway.proxy.terminate()
        wait_for(lambda: _listens(gateway), lambda found: not found)
        gateway.proxy.terminate()
        async with asyncio.timeout(30):
            assert await held == [0] * 6
        assert await asyncio.to_thread(gateway.proxy.wait, 10) == 0


def test_without_the_hub_everything_ends(by_hand: ByHand) -> None:
    gateway = Workers(by_hand(), 2)
    wait_for(gateway.workers, lambda found: len(found) == 2)
    pids = [gateway.proxy.pid, *gateway.processes().values()]
    os.kill(gateway.processes()[HUB], signal.SIGKILL)
    assert gateway.proxy.wait(10) == 137
    assert not [pid for pid in pids if _runs(pid)]


def test_without_the_first_process_everything_ends(by_hand: ByHand) -> None:
    gateway = Workers(by_hand(), 2)
    wait_for(gateway.workers, lambda found: len(found) == 2)
    pids = list(gateway.processes().values())
    os.kill(gateway.proxy.pid, signal.SIGKILL)
    wait_for(lambda: [pid for pid in pids if _runs(pid)], lambda found: not found)
    wait_for(lambda: _listens(gateway), lambda found: not found)


def test_signals_of_a_terminal_reach_each_process_once(start: Start, fake: FakeProvider) -> None:
    """Ctrl-C goes to all processes of the group. It must not count twice."""
    gateway = start(2)
    fake.always("chunks=10,pace=0.05")
    with gateway.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=AUTHORIZED) as answer:
        os.killpg(gateway.proxy.pid, signal.SIGINT)
        assert answer.read().rstrip().endswith(b"data: [DONE]")
    assert gateway.proxy.wait() == 0


def test_no_secret_is_in_a_process_list(start: Start) -> None:
    gateway = start(2)
    for pid in gateway.processes().values():
        assert MASTER_KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_readiness_is_that_of_the_ledger(start: Start) -> None:
    gateway = start(2)
    assert gateway.http.get("/health/readiness").status_code == 200


async def test_an_outage_of_the_database_is_a_503(start: Start, new_database: NewDatabase) -> None:
    unreachable = "postgresql://nobody@127.0.0.1:1/nothing"
    gateway = start(2, environment={"DATABASE_URL": unreachable})
    assert set(await gateway.burst(4)) == {503}
    assert gateway.http.get("/health/readiness").status_code == 503


def test_behind_the_edge_there_is_one_worker(by_hand: ByHand) -> None:
    running = by_hand(environment={"NUM_WORKERS": "2", "INTERNAL_TOKEN": "token-of-the-edge-0123456789"}, wait=False)
    assert running.wait() == 2
    assert "Behind the edge" in running.log()


def test_another_proxy_cannot_take_the_port(start: Start, by_hand: ByHand) -> None:
    gateway = start(2)
    other = by_hand(arguments=("--port", str(gateway.proxy.port)), wait=False)
    assert other.wait() == 1
    assert "Cannot listen" in other.log()


def _listens(gateway: Workers) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", gateway.proxy.port)) == 0


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _again(gateway: Workers) -> RunningProxy:
    """The same proxy, started again."""
    return gateway.proxy.__enter__()
