"""A proxy whose wall clock jumps forward and back while it serves.

No period spends more than its budget, and no key stays locked out once the clock is right again.
"""

from pathlib import Path
from typing import Any

import pytest

from container.stores import SqliteStore
from tests.accounting.clock import Clock
from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.ledger.support import check_balance
from tests.money import chat, deployment, wait_for
from tests.processes import StartProxy

DAY = 86_400.0
YEAR = 365 * DAY
# Dollars charged for each request of `chat`.
USED = Behaviour(usage=(100, 50))
COST = 0.0002


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clocks")


@pytest.fixture(scope="module")
def module_clock(directory: Path) -> Clock:
    return Clock(directory / "clock")


@pytest.fixture
def clock(module_clock: Clock) -> Clock:
    module_clock.jump(0)
    return module_clock


@pytest.fixture(scope="module")
def module_gateway(module_proxy: StartProxy, providers: FakeProvider, module_clock: Clock, directory: Path) -> Ledgered:
    """One gateway, shared by all tests of this module."""
    config = {
        "model_list": [
            deployment(providers, "gpt"),
            deployment(providers, "frail"),
            deployment(providers, "frail", "spare"),
        ],
        "router_settings": {"num_retries": 1, "cooldown_time": 60},
        "litellm_settings": {"max_budget": 100, "budget_duration": "30d"},
    }
    place = {"LEDGER_PATH": str(directory / "kept.db")}
    return Ledgered(module_proxy(config, environment={**module_clock.environment, **place}))


@pytest.fixture
def gateway(module_gateway: Ledgered, provider: FakeProvider) -> Ledgered:
    provider.always(USED)
    return module_gateway


def spent(gateway: Ledgered, key: str) -> int:
    """Sends requests until the key's budget is exhausted and returns how many were admitted."""
    for count in range(100):
        answer = gateway.ask(key, max_tokens=10)
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["type"]) == (429, "budget_exceeded"), answer.text
            return count
    raise AssertionError("the budget never ends")


def status(gateway: Ledgered, key: str) -> int:
    return gateway.ask(key, max_tokens=10).status_code


async def test_budgets_hold_in_every_period(gateway: Ledgered, clock: Clock, directory: Path) -> None:
    key = gateway.key(max_budget=3.9 * COST, budget_duration="1d")
    most = spent(gateway, key)
    assert 0 < most <= 4
    for jump in (YEAR, -YEAR):
        clock.jump(jump)
        assert spent(gateway, key) == most, "another day's budget"
        clock.jump(0)
        assert spent(gateway, key) == 0, "that of the right day has been spent"
        clock.jump(jump)
        assert spent(gateway, key) == 0, "so has the other day's"
        clock.jump(0)
    assert gateway.settled()["reserved"] == 0
    await balanced(directory)


def test_rate_limits_and_keys_recover_when_the_clock_is_right_again(gateway: Ledgered, clock: Clock) -> None:
    limited, passing = gateway.key(rpm_limit=2), gateway.key(duration="1h")
    clock.jump(YEAR)
    assert [status(gateway, limited) for _ in range(3)] == [200, 200, 429]
    assert status(gateway, passing) == 401, "it has expired, as far as anybody can tell"
    clock.jump(0)
    assert [status(gateway, limited) for _ in range(3)] == [200, 200, 429]
    assert status(gateway, passing) == 200
    clock.jump(-YEAR)
    assert [status(gateway, limited) for _ in range(3)] == [200, 200, 429]
    clock.jump(0)
    assert status(gateway, limited) == 200


def test_cooldowns_ignore_the_wall_clock(gateway: Ledgered, clock: Clock, provider: FakeProvider) -> None:
    provider.always(failing(429, retry_after=60), model="frail")

    def asked() -> int:
        assert gateway.ask(model="frail").status_code == 200
        return sum(seen.model == "frail" for seen in provider.requests)

    wait_for(asked, lambda count: count == 1)
    for jump in (DAY, -DAY, 0):
        clock.jump(jump)
        assert [asked() for _ in range(5)] == [1] * 5


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_running_stream_is_settled_at_its_cost(
    gateway: Ledgered, clock: Clock, provider: FakeProvider, directory: Path, jump: float
) -> None:
    key = gateway.key(max_budget=1, budget_duration="1d")
    provider.always(Behaviour(usage=(100, 50), text="word " * 10, chunks=10, pace=0.2))
    body: dict[str, Any] = chat(stream=True, max_tokens=50)
    headers = {"authorization": f"Bearer {key}"}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        lines = answer.iter_lines()
        next(lines)
        clock.jump(jump)
        if jump > 0:  # its lease has expired, so its full reservation counts until it ends
            wait_for(gateway.spend, lambda found: found["running_requests"] == 0)
        assert any("[DONE]" in line for line in lines)
    clock.jump(0)
    wait_for(lambda: gateway.info(key)["total_spend"], lambda found: found == pytest.approx(COST))
    assert status(gateway, key) == 200
    wait_for(lambda: gateway.info(key)["spend"], lambda found: found == pytest.approx(2 * COST))
    assert gateway.settled()["reserved"] == 0
    await balanced(directory)


async def balanced(directory: Path) -> None:
    store = SqliteStore(directory / "kept.db")
    await store.open()
    await check_balance(store)
    await store.close()
