"""One configuration behind the proxy alone and behind the edge, with fake providers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.edge.conftest import StartEdge, start_session_edge
from tests.fakes.server import FakeProvider, refusing_port
from tests.processes import MASTER_KEY, StartProxy

__all__ = ["start_session_edge"]

KEEPALIVE = 1


@dataclass(frozen=True)
class Gateway:
    """`url` is without `/v1`."""

    url: str

    def client(self, *, path: str = "/v1", api_key: str = MASTER_KEY, **options: Any) -> OpenAI:
        return OpenAI(base_url=self.url + path, api_key=api_key, max_retries=0, **options)

    def async_client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=MASTER_KEY, max_retries=0)


@pytest.fixture(scope="session")
def config(providers: FakeProvider) -> Iterator[dict[str, Any]]:
    at_fake = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    azure = {"api_base": providers.url, "api_key": "az-provider", "api_version": "2024-10-21"}
    with refusing_port() as refusing:
        yield {
            "model_list": [
                {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", **at_fake}},
                {"model_name": "azure/*", "litellm_params": {"model": "azure/*", **azure}},
                {"model_name": "vendor/*", "litellm_params": {"model": "openai/*", **at_fake}},
                {"model_name": "embedding", "litellm_params": {"model": "openai/text-embedding-3-small", **at_fake}},
                {"model_name": "hasty", "litellm_params": {"model": "openai/slow", "timeout": 0.5, **at_fake}},
                {"model_name": "off", "litellm_params": {"model": "openai/x", "api_key": "os.environ/NOT_SET_KEY"}},
                {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Mocked."}},
                {
                    "model_name": "gone",
                    "litellm_params": {
                        "model": "openai/x",
                        "api_key": "k",
                        "api_base": f"http://127.0.0.1:{refusing}/v1",
                    },
                },
            ],
            # The tests break providers in turn, so there are no cooldowns.
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }


@pytest.fixture(scope="session")
def standalone(session_proxy: StartProxy, config: dict[str, Any]) -> Gateway:
    return Gateway(session_proxy(config, environment={"STREAM_KEEPALIVE": str(KEEPALIVE)}).url)


@pytest.fixture(scope="session")
def at_the_edge(start_session_edge: StartEdge, config: dict[str, Any]) -> Gateway:
    return Gateway(start_session_edge(config, vars={"STREAM_KEEPALIVE": str(KEEPALIVE)}, local=False).url)


@pytest.fixture(params=["standalone", "at_the_edge"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(gateway: Gateway) -> OpenAI:
    return gateway.client()
