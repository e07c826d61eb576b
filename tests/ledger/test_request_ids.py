"""A response's `x-request-id` finds the request's spend log line, whether the gateway or the client chose the id."""

import pytest

from container.stores import Store
from tests.ledger.support import Ledger
from worker.core.ledger import spend
from worker.core.ledger.spend import Filters


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def found(ledger: Ledger, request_id: str) -> list[tuple[str, float]]:
    result = await ledger.store.run(spend.logs(Filters(request_id=request_id)))
    return sorted((line["request_id"], round(line["spend"] * 1e9)) for line in result["body"]["data"])


async def spent(ledger: Ledger, id: str, cost: int, named: str = "") -> None:
    assert (await ledger.admit(None, cost, id=id, request_id=named))["ok"]
    assert await ledger.settle(id, cost) == "settled"


async def test_a_line_is_found_by_the_gateways_and_the_clients_id(ledger: Ledger) -> None:
    await spent(ledger, "a" * 32, 1)
    await spent(ledger, "b" * 32, 2, named="my-request")
    assert await found(ledger, "a" * 32) == [("a" * 32, 1)]
    assert await found(ledger, "my-request") == [("my-request", 2)]
    assert await found(ledger, "b" * 32) == [("my-request", 2)]
    assert await found(ledger, "another") == []


async def test_a_reused_id_overwrites_and_hides_no_line(ledger: Ledger) -> None:
    """A client may reuse another client's id, or one that the gateway generated."""
    await spent(ledger, "a" * 32, 1)
    await spent(ledger, "b" * 32, 2, named="a" * 32)
    await spent(ledger, "c" * 32, 3, named="shared")
    await spent(ledger, "d" * 32, 4, named="shared")
    assert await found(ledger, "a" * 32) == [("a" * 32, 1), ("a" * 32, 2)]
    assert await found(ledger, "shared") == [("shared", 3), ("shared", 4)]


async def test_concurrent_requests_keep_their_ids(ledger: Ledger) -> None:
    asks = [ledger.request(None, 5, id=letter * 32, request_id=f"name-{letter}") for letter in "xyz"]
    _, results = await ledger.batch([], asks)
    assert [result["ok"] for result in results] == [True] * 3
    for ask in asks:
        await ledger.settle(ask.id, 5)
    assert await found(ledger, "name-y") == [("name-y", 5)]
