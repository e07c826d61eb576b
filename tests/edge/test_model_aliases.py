"""Aliases of a team at the edge: quoted by the Worker, decided by the ledger, routed by the container."""

from collections.abc import Iterator

import pytest

from tests.accounting import model_aliases
from tests.edge.conftest import Edge, StartEdge
from tests.edge.money import Money
from tests.fakes.server import FakeProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, provider: FakeProvider) -> Edge:
    return start_module_edge(model_aliases.config(provider))


@pytest.fixture
def money(edge: Edge) -> Money:
    return Money(edge)


@pytest.mark.parametrize("name", model_aliases.CASES)
def test_aliases(money: Money, provider: FakeProvider, name: str) -> None:
    model_aliases.run(name, money, provider)


def test_aliases_with_several_containers(start_edge: StartEdge, provider: FakeProvider) -> None:
    """Then the Worker has the ledger admit most requests before it sends them anywhere."""
    money = Money(start_edge(model_aliases.config(provider), vars={"CONTAINER_INSTANCES": "2"}))
    model_aliases.prepared(provider)
    model_aliases.a_team(money, "blue")
    for key in [money.key(team_id="blue") for _ in range(6)]:
        for name in ("dear", "fast", "dear", "fast"):
            assert model_aliases.group(money.ask(key, model=name, max_tokens=10)) == "cheap"
        model_aliases.alias(money, "blue", {"dear": "spare", "fast": "spare"})
        for name in ("dear", "fast"):
            assert model_aliases.group(money.ask(key, model=name, max_tokens=10)) == "spare"
        model_aliases.alias(money, "blue", model_aliases.ALIASES)
