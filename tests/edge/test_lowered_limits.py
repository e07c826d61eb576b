"""At the edge, too, a request that does not fit gets a lower output limit, or waits for running ones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.edge.conftest import StartEdge
from tests.edge.money import Money
from tests.edge.test_carried_reports import leaves
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment, wait_for

LIMIT = 32_000
HEADER = "x-litellm-output-limit"
LARGE = "word " * 20_000  # such a body is parked


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module", params=["one hop", "another object"])
def money(request: pytest.FixtureRequest, start_module_edge: StartEdge, provider: FakeProvider) -> Money:
    """In the second, the container belongs to another object than the ledger."""
    config = {
        "model_list": [deployment(provider, "gpt", max_output_tokens=100_000)],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    options: dict[str, Any] = {"containers": frozenset({"ProxyContainer"})} if request.param != "one hop" else {}
    return Money(start_module_edge(config, **options))


@pytest.fixture(autouse=True)
def _usage(provider: FakeProvider) -> None:
    provider.reset()
    provider.always(Behaviour(usage=(10, 5)))


@pytest.mark.parametrize("limit", [LIMIT, None])
@pytest.mark.parametrize("content", ["Hi", LARGE], ids=["small", "parked"])
def test_the_lower_limit_is_sent_and_named_in_a_header(
    money: Money, provider: FakeProvider, content: str, limit: int | None
) -> None:
    budget = 0.02 + (0.05 if content is LARGE else 0.0)
    fields = {} if limit is None else {"max_tokens": limit}
    key = money.key(max_budget=budget)
    answer = money.ask(key, content=content, **fields)
    assert answer.status_code == 200, answer.text
    sent = provider.last.body["max_tokens"]
    assert answer.headers[HEADER] == str(sent)
    assert not [name for name in answer.headers if name.startswith("x-internal")]
    [line] = money.settled(key)
    assert sent * OUT < line["reserved"] <= budget
    assert line["spend"] == pytest.approx(10 * IN + 5 * OUT)


def test_a_limit_that_fits_is_not_touched(money: Money, provider: FakeProvider) -> None:
    answer = money.ask(money.key(max_budget=10), max_tokens=LIMIT)
    assert (provider.last.body["max_tokens"], HEADER in answer.headers) == (LIMIT, False)
    money.ask(money.key(max_budget=10))
    assert provider.last.body["max_tokens"] == 100_000


def test_a_request_waits_until_running_ones_leave_it_a_budget(money: Money, provider: FakeProvider) -> None:
    key = money.key(max_budget=150 * OUT)
    with ThreadPoolExecutor(3) as pool:
        with provider.holding():
            asking = [pool.submit(money.ask, key, max_tokens=100) for _ in range(3)]
            provider.wait_for(lambda: provider.in_flight == 1, 20)
            assert not any(one.done() for one in asking)
        assert [one.result().status_code for one in asking] == [200] * 3
    assert provider.peak_in_flight == 1
    money.settled(key, 3)


@pytest.mark.parametrize("money", ["one hop"], indirect=True)  # the Worker would not notice, only the ledger's object
def test_who_leaves_while_waiting_costs_nothing(money: Money, provider: FakeProvider) -> None:
    key = money.key(max_budget=120 * OUT)
    with ThreadPoolExecutor(1) as pool:
        with provider.holding():
            first = pool.submit(money.ask, key, max_tokens=100)
            provider.wait_for(lambda: provider.in_flight == 1, 20)
            leaves(money.edge, key, resets=True)
            money.edge.wait_for_log("while it waited for a budget")
        assert first.result().status_code == 200
    assert money.ask(key, max_tokens=5).status_code == 200
    wait_for(lambda: money.info(key)["running_requests"], lambda count: count == 0)
    assert money.info(key)["spend"] == pytest.approx(2 * (10 * IN + 5 * OUT))
    assert len(provider.requests) == 2
