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
