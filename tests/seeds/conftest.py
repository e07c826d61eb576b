"""Gateways with the shipped config, standalone and at the edge. One fake plays every provider."""

import pytest

from tests.edge.conftest import StartEdge, start_session_edge
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, StartProxy
from tests.seeds.commands import Gateway

SHIPPED = ROOT / "litellm_config.yaml"
MASTER_KEY = "dev-key-change-in-production"

__all__ = ["start_session_edge"]


@pytest.fixture(scope="session")
def environment(providers: FakeProvider) -> dict[str, str]:
    return pointing_at(providers)


@pytest.fixture(scope="session")
def standalone(session_proxy: StartProxy, environment: dict[str, str]) -> Gateway:
    """The shipped config with a master key."""
    proxy = session_proxy(SHIPPED, master_key=MASTER_KEY, environment=environment)
    return Gateway(proxy.url, MASTER_KEY)


@pytest.fixture(scope="session")
def keyless(session_proxy: StartProxy, environment: dict[str, str]) -> Gateway:
    """The shipped config without a master key, on loopback."""
    return Gateway(session_proxy(SHIPPED, master_key=None, environment=environment).url, None)


@pytest.fixture(scope="session")
def at_the_edge(start_session_edge: StartEdge, environment: dict[str, str]) -> Gateway:
    """The Worker on a development machine, where sk-1234 is accepted."""
    edge = start_session_edge(vars={**environment, "LITELLM_MASTER_KEY": "sk-1234"})
    return Gateway(edge.url, "sk-1234")


@pytest.fixture(params=["standalone", "at_the_edge"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Each kind of gateway that requires a key."""
    return request.getfixturevalue(request.param)
