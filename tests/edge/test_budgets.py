"""Budgets and limits at the edge are exact under concurrency and across crashes."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from tests.accounting import levels
from tests.edge.conftest import Edge, SharedEdge, StartEdge
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, chat, deployment, wait_for

CHAT = "/v1/chat/completions"
USAGE = 20, 10
COST = USAGE[0] * IN + USAGE[1] * OUT
LIMIT = 50
REQUESTS, FIT = 1000, 100


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture
def plain(provider: FakeProvider) -> FakeProvider:
    provider.reset()
    provider.always(Behaviour(usage=USAGE))
    return provider


def config(provider: FakeProvider, **settings: Any) -> dict[str, Any]:
    free = {"model_name": "unpriced", "litellm_params": {"model": "openai/nobody-knows-it", "api_key": "sk-x"}}
    return {
        "model_list": [deployment(provider, "gpt"), free],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        **({"litellm_settings": settings} if settings else {}),
    }


@pytest.fixture
def edge(shared_edge: SharedEdge, provider: FakeProvider) -> Edge:
    return shared_edge(config(provider, max_user_budget=0.0005), vars={"BUDGET_PATIENCE": "0.25"})


@pytest.fixture
def money(edge: Edge) -> Money:
    return Money(edge)


def reservation(money: Money) -> float:
    """US dollars reserved for a request with LIMIT."""
    key = money.key()
    assert money.ask(key, max_tokens=LIMIT).status_code == 200
    return money.settled(key)[0]["reserved"]


def many_clients(edge: Edge, key: str) -> aiohttp.ClientSession:
    """Each request has a connection of its own. httpx would look through all of them for each request."""
    return aiohttp.ClientSession(
        edge.url,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=120),
        headers={"authorization": f"Bearer {key}"},
    )


def code(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_keys_budget_is_enforced(money: Money, plain: FakeProvider):
    reserved = reservation(money)
    key = money.key(max_budget=round(COST + reserved, 9), budget_duration="1d")
    assert [money.ask(key, max_tokens=LIMIT).status_code for _ in range(2)] == [200, 200]
    money.settled(key, 2)
    refused = money.ask(key, max_tokens=LIMIT)
    assert code(refused) == (429, "budget_exceeded")
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert money.info(key)["spend"] == pytest.approx(2 * COST, abs=1e-12)


def test_a_users_budget_is_shared_by_its_keys(money: Money, plain: FakeProvider):
    ada, also_ada, bob = money.key(user_id="ada"), money.key(user_id="ada"), money.key(user_id="bob")
    big = {"max_tokens": 200}
    assert money.ask(ada, **big).status_code == 200
    money.settled(ada)
    plain.always(Behaviour(usage=(20, 220)))
    assert money.ask(also_ada, **big).status_code == 200
    money.settled(also_ada)
    assert code(money.ask(ada, **big)) == (429, "budget_exceeded")
    assert "the user 'ada'" in money.ask(also_ada, **big).json()["error"]["message"]
    assert money.ask(bob, **big).status_code == 200


def test_the_global_budget_applies_to_every_key(start_edge: StartEdge, plain: FakeProvider):
    money = Money(start_edge(config(plain, max_budget=0.0003, budget_duration="30d")))
    key = money.key()
    assert money.ask(key, max_tokens=LIMIT).status_code == 200
    plain.always(Behaviour(usage=(20, 120)))
    assert money.ask(None, max_tokens=LIMIT).status_code == 200
    wait_for(money.spend, lambda found: found["running_requests"] == 0)
    for who in (key, None):
        assert code(money.ask(who, max_tokens=LIMIT)) == (429, "budget_exceeded")
    assert money.spend()["max_budget"] == 0.0003


def test_a_budget_adds_an_output_limit_to_requests_without_one(money: Money, plain: FakeProvider):
    assert money.ask(money.key(max_budget=1)).status_code == 200
    assert plain.requests[-1].body["max_tokens"] == 4096
    assert money.ask(money.key()).status_code == 200
    assert "max_tokens" not in plain.requests[-1].body


def test_an_unpriced_model_is_refused_only_under_a_budget(money: Money):
    refused = money.ask(money.key(max_budget=1), model="unpriced")
    assert code(refused) == (400, "price_unknown")
    assert "input_cost_per_token" in refused.json()["error"]["message"]


def test_an_implausible_cost_is_refused(money: Money):
    assert code(money.ask(None, n=1_000_000, max_tokens=1_000_000)) == (400, "too_expensive")


def test_requests_per_minute(money: Money, plain: FakeProvider):
    key = money.key(rpm_limit=2)
    answers = wait_for(
        lambda: [money.ask(key) for _ in range(3)], lambda found: [a.status_code for a in found] == [200, 200, 429], 130
    )
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
    assert answers[2].headers["x-ratelimit-limit-requests"] == "2"
    assert code(answers[2]) == (429, "rate_limit_exceeded")
    assert 0 < int(answers[2].headers["retry-after"]) <= 60


def test_tokens_per_minute(money: Money, plain: FakeProvider):
    key = money.key(tpm_limit=200)
    first = money.ask(key, max_tokens=100)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit-tokens"] == "200"
    refused = money.ask(key, max_tokens=201)
    assert code(refused) == (429, "rate_limit_exceeded")
    assert refused.headers["x-should-retry"] == "false"


def test_parallel_requests(money: Money, provider: FakeProvider):
    provider.reset()
    provider.always(Behaviour(usage=USAGE, delay=2.0))
    key = money.key(max_parallel_requests=2)

    async def both() -> list[int]:
        async with httpx.AsyncClient(timeout=30) as client:
            headers = {"authorization": f"Bearer {key}"}
            posts = (client.post(money.edge.url + CHAT, json=chat(), headers=headers) for _ in range(3))
            return sorted(answer.status_code for answer in await asyncio.gather(*posts))

    assert asyncio.run(both()) == [200, 200, 429]
    provider.always(Behaviour(usage=USAGE))
    # The slot is free as soon as the response has ended, although the ledger is told slightly later.
    assert [money.ask(key).status_code for _ in range(10)] == [200] * 10


def test_a_budget_for_one_request_at_a_time(money: Money, plain: FakeProvider):
    """The unused part of a reservation is available to the next request."""
    reserved = reservation(money)
    key = money.key(max_budget=round(9 * COST + reserved, 9))
    assert [money.ask(key, max_tokens=LIMIT).status_code for _ in range(10)] == [200] * 10
    assert money.ask(key, max_tokens=LIMIT).status_code == 429


@pytest.mark.timeout(240)
async def test_of_a_thousand_at_once_with_settlement_delayed_exactly_as_many_as_fit_are_admitted(
    edge: Edge, provider: FakeProvider
):
    """Admitted requests are answered only when all others have been refused. Some are streams, and some clients
    disconnect.
    """
    provider.reset()
    provider.always(Behaviour(usage=USAGE))
    money = Money(edge)
    reserved = await asyncio.to_thread(reservation, money)
    key = await asyncio.to_thread(lambda: money.key(max_budget=round(FIT * reserved + reserved / 2, 9)))
    provider.always(Behaviour(usage=USAGE, chunks=5))
    refused, enough = Counter[int](), asyncio.Event()

    async def ask(client: aiohttp.ClientSession, index: int) -> int:
        async with client.post(CHAT, json=chat(max_tokens=LIMIT, stream=index % 20 == 1)) as answer:
            if answer.status != 200:
                refused[answer.status] += 1
                if refused.total() == REQUESTS - FIT:
                    enough.set()
            await answer.read()
            return answer.status

    async with many_clients(edge, key) as client:
        with provider.holding():
            work = [asyncio.create_task(ask(client, index)) for index in range(REQUESTS)]
            await asyncio.wait_for(enough.wait(), 100)
            held = await asyncio.to_thread(money.info, key)
            assert held["reserved"] == pytest.approx(FIT * reserved, abs=1e-12)
            assert refused == {429: REQUESTS - FIT}
            running = [task for task in work if not task.done()]
            assert len(running) == FIT
            for task in running[:50]:
                task.cancel()
            await asyncio.wait(running[:50])
        answers = await asyncio.gather(*running[50:])
        assert Counter(answers) == {200: 50}
        await asyncio.gather(*work, return_exceptions=True)
    await asyncio.to_thread(money.settled, key, FIT, 60)
    found = await asyncio.to_thread(money.info, key)
    lines = await asyncio.to_thread(lambda: money.admin("/spend/logs", key=key, size=1000)["data"])
    assert found["reserved"] == 0
    assert found["spend"] == pytest.approx(sum(line["spend"] for line in lines), abs=1e-12)
    assert found["spend"] <= found["max_budget"]
    # A client that disconnects before any output pays for the whole reservation.
    assert len(lines) == FIT
    assert {line["status"] for line in lines} <= {200, 499}
    assert all(line["spend"] > 0 for line in lines)


@pytest.mark.timeout(240)
async def test_a_thousand_at_once_never_exceed_the_budget(edge: Edge, provider: FakeProvider):
    """Plain requests, fifty streams, and fifty clients that disconnect mid-stream, while others end and are settled."""
    provider.reset()
    provider.always(Behaviour(usage=USAGE, text="word " * 10, chunks=10, pace=0.02))
    money = Money(edge)
    reserved = await asyncio.to_thread(reservation, money)
    key = await asyncio.to_thread(lambda: money.key(max_budget=round(FIT * reserved, 9)))

    async def ask(client: aiohttp.ClientSession, index: int) -> int:
        async with client.post(CHAT, json=chat(max_tokens=LIMIT, stream=index % 10 == 1)) as answer:
            if answer.status == 200 and index % 20 == 11:
                await answer.content.readany()
                answer.close()
                return 499
            await answer.read()
            return answer.status

    async with many_clients(edge, key) as client:
        counted = Counter(await asyncio.gather(*(ask(client, index) for index in range(REQUESTS))))
    assert counted.keys() <= {200, 429, 499}
    assert counted[200] + counted[499] >= FIT
    await asyncio.to_thread(wait_for, money.spend, lambda found: found["running_requests"] == 0, 60)
    found = await asyncio.to_thread(money.info, key)
    lines = await asyncio.to_thread(lambda: money.admin("/spend/logs", key=key, size=1000)["data"])
    assert len(lines) == counted[200] + counted[499]
    assert found["spend"] == pytest.approx(sum(line["spend"] for line in lines), abs=1e-12)
    assert found["spend"] <= found["max_budget"]
    assert found["reserved"] == 0


def test_the_ledger_survives_workerd(edge: Edge, plain: FakeProvider):
    money = Money(edge)
    key, other = money.key(max_budget=1, key_alias="survivor"), money.key()
    assert money.ask(key).status_code == 200
    before = money.settled(key)
    money.admin("/key/block", {"key": other})
    edge.kill_worker()
    edge.start_worker()
    assert money.logs(key) == before
    assert money.info(key)["spend"] == pytest.approx(COST, abs=1e-12)
    assert money.ask(other).status_code == 401
    assert money.ask(key).status_code == 200
    assert len(money.settled(key, 2)) == 2
    edge.restart_worker()
    assert money.ask(key).status_code == 200
    assert len(money.settled(key, 3)) == 3


def test_without_a_ledger_no_request_is_forwarded(start_edge: StartEdge, plain: FakeProvider, tmp_path: Path):
    edge = start_edge(config(plain), directory=tmp_path, ledger=False)
    money = Money(edge)
    for answer in (
        money.ask(),
        money.ask("sk-any-key"),
        money.ask(content="x" * 100_000),
        money.http.get("/key/list"),
        money.http.get("/v1/models", headers={"authorization": "Bearer sk-any-key"}),
    ):
        assert code(answer) == (503, "service_unavailable")
        assert "ledger" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) >= 1
    assert money.http.get("/health").status_code == 503, "its object has the container, too"
    assert money.http.get("/health/readiness").status_code == 503
    assert money.http.get("/health/liveliness").status_code == 200
    assert plain.requests == []
    edge.wait_for_log("there is no LEDGER binding")


class _Hook:
    """A webhook that fails the first delivery of each message."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                call = json.loads(body)
                self.send_response(204 if call in hook.calls else 500)
                hook.calls.append(call)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Silences the log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/s3cret-hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def hook() -> Iterator[_Hook]:
    hook = _Hook()
    yield hook
    hook.close()


@pytest.fixture(scope="module")
def alerting(start_module_edge: StartEdge, provider: FakeProvider, hook: _Hook) -> Edge:
    wanted = {**config(provider), "general_settings": {"alerting": ["slack"]}}
    return start_module_edge(wanted, vars={"ALERT_WEBHOOK_URL": hook.url, "SLACK_WEBHOOK_URL": hook.url})


def test_a_webhook_is_notified_once_and_retried_after_a_failure(alerting: Edge, plain: FakeProvider, hook: _Hook):
    money = Money(alerting)
    key = money.key(key_alias="alerted", soft_budget=COST / 2, max_budget=1)
    for _ in range(3):
        assert money.ask(key).status_code == 200
    money.settled(key, 3)
    calls = wait_for(
        lambda: [call for call in hook.calls if call.get("kind") == "soft_budget"], lambda found: len(found) == 2, 20
    )
    assert calls[0] == calls[1]
    assert calls[0]["name"] == "key alerted"
    assert calls[0]["budget"] == pytest.approx(COST / 2, abs=1e-9)
    assert "s3cret" not in alerting.log()


def test_slack_is_told_of_a_refused_key_once(alerting: Edge, plain: FakeProvider, hook: _Hook):
    money = Money(alerting)
    plain.queue(failing(401), failing(403))
    assert [money.ask().status_code == 200 for _ in range(3)] == [False, False, True]
    refused = "The provider refuses our key: deployment"
    calls = wait_for(
        lambda: [call for call in hook.calls if refused in call.get("text", "")], lambda found: len(found) == 2, 20
    )
    assert calls[0] == calls[1], "the first delivery failed"
    assert "s3cret" not in alerting.log()


@pytest.mark.timeout(300)
async def test_budgets_at_every_level_hold_at_once(start_edge: StartEdge, money: Money, provider: FakeProvider) -> None:
    """A thousand requests with five keys of two teams, with three tags."""
    provider.reset()
    provider.always(Behaviour(usage=USAGE))
    reserved = round(await asyncio.to_thread(reservation, money) * 1e9)
    settings = {"max_budget": levels.FITS["global"] * reserved / 1e9}
    limited = {**config(provider), "litellm_settings": settings}
    edge = await asyncio.to_thread(lambda: start_edge(limited, vars={"BUDGET_PATIENCE": "0"}))
    cost = round((USAGE[0] * IN + USAGE[1] * OUT) * 1e9)
    await levels.check(Money(edge), [edge.url], provider, reserved, cost, REQUESTS)
