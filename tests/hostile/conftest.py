"""Two entrances to the same models, the proxy alone and the edge, with one recording provider behind both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.container.raw import Answer, Connection, ask
from tests.edge.conftest import Edge, StartEdge, start_module_edge, start_session_edge
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

__all__ = ["start_module_edge", "start_session_edge"]

CHAT = "/v1/chat/completions"
AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}
PROVIDER_KEY = "sk-provider-0123456789abcdef"
PLAIN = b'{"model": "gpt", "messages": [{"role": "user", "content": "Hello there"}]}'


@dataclass
class Door:
    """`port` on loopback; `log()` returns the log of everything behind it."""

    name: str
    port: int
    provider: FakeProvider
    log: Callable[[], str]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.port, method, path, {**AUTHORIZED, **named}, body)

    def connect(self, timeout: float = 20.0) -> Connection:
        return Connection(self.port, timeout=timeout)

    def still_serves(self) -> None:
        """Raises AssertionError unless a valid request succeeds and nothing was our fault."""
        assert self.ask("POST", CHAT, PLAIN).status == 200
        assert "internal_error" not in self.log()
        assert "edge_failed" not in self.log()


@pytest.fixture(scope="session")
def behind() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


def config(provider: FakeProvider) -> dict[str, Any]:
    at_provider = {"model": "openai/gpt-4o", "api_base": provider.openai_base, "api_key": PROVIDER_KEY}
    return {
        "model_list": [
            {"model_name": "gpt", "litellm_params": at_provider},
            {"model_name": "free/*", "litellm_params": {**at_provider, "model": "openai/*"}},
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


@pytest.fixture(scope="session")
def standalone(session_proxy: StartProxy, behind: FakeProvider) -> Door:
    gateway: RunningProxy = session_proxy(config(behind))
    return Door("standalone", gateway.port, behind, gateway.log)


@pytest.fixture(scope="session")
def at_the_edge(start_session_edge: StartEdge, behind: FakeProvider) -> Door:
    edge: Edge = start_session_edge(config(behind), local=False)
    assert edge.client.post(CHAT, content=PLAIN).status_code == 200  # it is awake
    return Door("edge", int(edge.url.rpartition(":")[2]), behind, edge.log)


@pytest.fixture(params=["standalone", "at_the_edge"])
def door(request: pytest.FixtureRequest, behind: FakeProvider) -> Door:
    found = request.getfixturevalue(request.param)
    behind.reset()
    return found
