"""A deployment meets the previous version: its storage, its running objects, its containers.

The previous version here is the last one whose Worker forwarded all requests to a `ProxyContainer`, including those for
the first container.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.checkouts import checkout
from tests.edge.conftest import StartEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from worker.core.ledger.schema import VERSION

BEFORE = "c9e100aa4630b53f1f5b062aa50b8888e4571898"
SCHEMA_6 = "0e5dcc3c839c767bdd62d4355d68958572c0c706"
LARGE = "word " * 20_000  # such a body is parked


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the previous Worker."""
    return checkout(BEFORE, tmp_path_factory.mktemp("before"), "worker", "wrangler.jsonc")


@pytest.fixture(scope="module")
def with_schema_6(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the last Worker whose ledger has schema 6."""
    return checkout(SCHEMA_6, tmp_path_factory.mktemp("schema-6"), "worker", "wrangler.jsonc")


def beside(before: Path, replaced: dict[str, str]) -> dict[str, str]:
    """The previous Worker as a package `before` inside the current one. `replaced`: modules taken from it."""
    worker = before / "worker"
    ours = {path.stem for path in worker.glob("*.py")} | {path.name for path in worker.iterdir() if path.is_dir()}
    names = "|".join(sorted(ours - {"catalog", "entry"}))
    imports = re.compile(rf"^(\s*from |\s*import )(?=(?:{names})\b)", re.M)
    sources = {
        f"before/{path.relative_to(worker).as_posix()}": imports.sub(r"\1before.", path.read_text("utf-8"))
        for path in worker.rglob("*.py")
        if path.name not in ("catalog.py", "entry.py")
    }
    return {**sources, **replaced}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        one.always(Behaviour(usage=(10, 5)))
        yield one


@pytest.fixture
def config(provider: FakeProvider) -> dict[str, Any]:
    return {"model_list": [deployment(provider, "gpt")], "router_settings": {"num_retries": 0}}


def test_keys_and_spend_are_kept(start_edge: StartEdge, config: dict[str, Any], before: Path, tmp_path: Path) -> None:
    money = Money(start_edge(config, directory=tmp_path, checkout=before))
    key, blocked = money.key(max_budget=1), money.key()
    money.admin("/key/block", {"key": blocked})
    assert [money.ask(key).status_code for _ in range(3)] == [200] * 3
    spent = money.settled(key, 3)
    money.edge.stop()

    money = Money(start_edge(config, directory=tmp_path))
    new = {"request_tags": [], "attempts": [], "team_id": None, "end_user": None, "provider": None}
    assert money.logs(key) == [{**line, **new} for line in spent]
    assert money.info(key)["spend"] == pytest.approx(3 * 0.00002)
    assert (money.ask(key).status_code, money.ask(blocked).status_code) == (200, 401)
    money.settled(key, 4)
    assert money.spend()["spend"] == pytest.approx(4 * 0.00002)


def test_requests_running_in_an_old_container_are_settled(
    start_edge: StartEdge, config: dict[str, Any], before: Path, provider: FakeProvider
) -> None:
    provider.always(Behaviour(usage=(10, 5), pace=0.3, chunks=10, text="word " * 10))
    money = Money(start_edge(config, checkout=before))
    key = money.key(max_budget=10)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(money.ask, key, stream=True)
        wait_for(lambda: provider.requests, bool)
        money.edge.deploy()
        with pytest.raises(httpx.HTTPError):
            asking.result(10)
    assert money.ask(key).status_code == 200
    lines = money.settled(key, 2, seconds=20)
    assert sorted((line["status"], line["state"]) for line in lines) == [(200, "settled"), (499, "settled")]
    wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert money.spend()["reserved"] == 0


def test_a_ledger_with_schema_6_is_migrated_in_the_middle_of_a_stream(
    start_edge: StartEdge, config: dict[str, Any], with_schema_6: Path, provider: FakeProvider
) -> None:
    money = Money(start_edge(config, checkout=with_schema_6))
    key, tight, blocked = money.key(user_id="ada", tags=["old"]), money.key(max_budget=1), money.key()
    money.admin("/key/block", {"key": blocked})
    assert [money.ask(key).status_code for _ in range(3)] == [200] * 3
    assert money.ask(tight, max_tokens=10).status_code == 200
    money.settled(key, 3)
    (before,) = money.settled(tight, 1)
    twice = before["reserved"] + 1.5 * before["spend"]  # a budget for two such requests, not for three
    money.admin("/key/update", {"key": tight, "max_budget": twice})
    provider.always(Behaviour(usage=(10, 5), pace=0.3, chunks=20, text="word " * 20))
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(money.ask, key, stream=True, max_tokens=50)
        running = wait_for(money.spend, lambda found: found["running_requests"] == 1 and provider.in_flight)
        provider.always(Behaviour(usage=(10, 5)))
        money.edge.deploy()
        assert money.ask(tight, max_tokens=10).status_code == 200
        with pytest.raises(httpx.HTTPError):
            asking.result(10)
    assert _schema(money) == VERSION
    assert (money.ask(blocked).status_code, money.ask(tight, max_tokens=10).status_code) == (401, 429)
    assert running["reserved"] > 0
    lines = money.settled(key, 4, seconds=20)
    wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert {line["state"] for line in lines} == {"settled"}
    assert [line["spend"] for line in money.settled(tight, 2)] == [before["spend"]] * 2
    money.admin("/team/new", {"team_id": "blue", "max_budget": twice})
    assert money.ask(money.key(team_id="blue"), max_tokens=10).status_code == 200
    of_blue = wait_for(
        lambda: [line for line in money.logs() if line["team_id"] == "blue"], lambda found: found and found[0]["spend"]
    )
    spend = wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert spend["reserved"] == 0
    everything = [*lines, *money.logs(tight), *of_blue]
    assert round(spend["spend"] * 1e9) == sum(round(line["spend"] * 1e9) for line in everything)
    assert round(money.info(key)["spend"] * 1e9) == sum(round(line["spend"] * 1e9) for line in lines)
    money.edge.stop_worker()
    with contextlib.closing(sqlite3.connect(_ledger(money))) as database:
        read = "SELECT id, spent, reserved, parallel FROM ledger_accounts WHERE id IN ('global', 'user:ada')"
        total, own = (round(sum(line["spend"] for line in some) * 1e9) for some in (everything, lines))
        assert set(database.execute(read)) == {("global", total, 0, 0), ("user:ada", own, 0, 0)}


def _ledger(money: Money) -> Path:
    """The file of the ledger's object."""
    (path,) = (path for path in money.edge.offline.directory.glob("storage/*Ledger/*.sqlite") if len(path.stem) == 64)
    return path


def _schema(money: Money) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{_ledger(money)}?mode=ro", uri=True)) as database:
        ((version,),) = database.execute("SELECT version FROM ledger_schema")
        return version


def test_an_old_object_is_called_the_old_way(
    start_edge: StartEdge, config: dict[str, Any], before: Path, provider: FakeProvider
) -> None:
    """Objects keep their code for some minutes after a deployment."""
    old = beside(before, {"edge/objects/ledger.py": "from before.ledger_object import Ledger"})
    money = Money(start_edge(config, replaced=old))
    asked_of_everything(money)
    money.edge.deploy()
    assert {info.state for info in money.edge.containers()} == {"running"}
    asked_of_everything(money)


def test_an_old_worker_finds_the_methods_it_calls(start_edge: StartEdge, config: dict[str, Any], before: Path) -> None:
    """It may still run somewhere when the objects already have the new code."""
    old = beside(before, {"edge/app.py": "from before.edge.pipeline import handle"})
    money = Money(start_edge(config, replaced=old))
    asked_of_everything(money)
    assert len(money.edge.containers(None)) == 1


def test_without_a_container_at_the_ledger_the_first_one_is_in_another_object(
    start_edge: StartEdge, config: dict[str, Any]
) -> None:
    money = Money(start_edge(config, containers=frozenset({"ProxyContainer"})))
    refused = money.ask(money.key(max_budget=0))
    assert (refused.status_code, money.edge.containers(None)) == (429, [])
    asked_of_everything(money)
    assert len(money.edge.containers(None)) == 1


def asked_of_everything(money: Money) -> None:
    """Sends plain, streamed and parked requests concurrently and checks that each is answered and settled once."""
    key = money.key(max_budget=10)
    headers = {"authorization": f"Bearer {key}"}

    def parked() -> httpx.Response:
        body = {**chat(), "messages": [{"role": "user", "content": LARGE}]}
        return httpx.post(f"{money.edge.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(money.ask, key) for _ in range(4)]
        asking += [pool.submit(money.ask, key, stream=True), pool.submit(parked)]
        answers = [one.result() for one in asking]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert not [name for answer in answers for name in answer.headers if name.startswith("x-internal")]
    assert httpx.get(f"{money.edge.url}/v1/models", headers=headers, timeout=30).status_code == 200
    assert httpx.get(f"{money.edge.url}/health/readiness", timeout=30).json()["container"] == "running"
    lines = money.settled(key, 6)
    assert [line["state"] for line in lines] == ["settled"] * 6
    money.admin("/key/block", {"key": key})
    assert money.ask(key).status_code == 401
    spend = wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert spend["reserved"] == 0
