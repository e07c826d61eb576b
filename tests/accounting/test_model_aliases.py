"""Aliases of a team at the proxy alone."""

from collections.abc import Iterator

import httpx
import pytest

from tests.accounting import model_aliases
from tests.fakes.server import FakeProvider
from tests.money import Money
from tests.processes import MASTER_KEY, StartProxy


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> Money:
    proxy = module_proxy(model_aliases.config(provider))
    return Money(httpx.Client(base_url=proxy.url, timeout=60), MASTER_KEY)


@pytest.mark.parametrize("name", model_aliases.CASES)
def test_aliases(gateway: Money, provider: FakeProvider, name: str) -> None:
    model_aliases.run(name, gateway, provider)
