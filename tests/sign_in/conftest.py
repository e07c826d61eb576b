"""Fixtures: a gateway at each door whose people sign in at a real OpenID provider."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.edge.conftest import start_module_edge
from tests.processes import MASTER_KEY, RunningProxy, free_tcp_port
from tests.sign_in.provider import OpenIdProvider, Person

__all__ = ["start_module_edge"]

PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
CONFIG = {
    "model_list": [
        {
            "model_name": name,
            "litellm_params": {"model": "openai/mock", "mock_response": "Hello"},
            "model_info": PRICES,
        }
        for name in ("gpt", "claude")
    ]
}


class Gateway:
    """`url`: its address. `call` sends the master key, or another, or none."""

    def __init__(self, url: str, provider: OpenIdProvider) -> None:
        self.url = url
        self.provider = provider

    def call(self, path: str, fields: Any = None, *, key: str | None = MASTER_KEY) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        method = "GET" if fields is None else "POST"
        return httpx.request(method, self.url + path, json=fields, headers=headers, timeout=20)

    def made(self, **fields: Any) -> Any:
        answer = self.call("/key/generate", fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def person(self, name: str) -> Person:
        return Person(self.url, name)

    def signed_in(self, name: str) -> Person:
        person = self.person(name)
        answer = person.sign_in()
        assert (answer.status_code, answer.headers["location"]) == (302, "/dashboard"), answer.headers
        return person


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    with OpenIdProvider(tmp_path_factory.mktemp("provider")) as one:
        yield one


def settings(provider: OpenIdProvider, url: str, **more: str) -> dict[str, str]:
    return {
        "OIDC_ISSUER": provider.issuer,
        "GENERIC_CLIENT_ID": "gateway",
        "PROXY_BASE_URL": url,
        "GENERIC_ROLE_MAPPINGS_GROUP_CLAIM": "groups",
        "GENERIC_ROLE_MAPPINGS_ROLES": json.dumps({"proxy_admin": ["admins"]}),
        "OIDC_TEAMS_CLAIM": "teams",
        "OIDC_TEAM_ADMIN_CLAIM": "leads",
        "FAILED_KEYS_PER_MINUTE": "1000000",
        **more,
    }


class StartAlone(Protocol):
    def __call__(self, **more: str) -> Gateway: ...


@pytest.fixture
def start_alone(provider: OpenIdProvider, tmp_path: Path) -> Iterator[StartAlone]:
    """Starts proxies with other settings."""
    running: list[RunningProxy] = []

    def start(**more: str) -> Gateway:
        directory = tmp_path / str(len(running))
        directory.mkdir()
        proxy = RunningProxy(CONFIG, directory, environment=settings(provider, "{url}", **more))
        running.append(proxy.__enter__())
        return Gateway(proxy.url, provider)

    yield start
    for proxy in running:
        proxy.__exit__(None, None, None)


@pytest.fixture(scope="module", params=["alone", "edge"])
def gateway(
    request: pytest.FixtureRequest, provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway at each door, shared by the module. A module's MORE has further settings."""
    more: dict[str, str] = getattr(request.module, "MORE", {})
    if request.param == "alone":
        directory = tmp_path_factory.mktemp("proxy")
        with RunningProxy(CONFIG, directory, environment=settings(provider, "{url}", **more)) as proxy:
            yield Gateway(proxy.url, provider)
        return
    port = free_tcp_port()
    url = f"http://127.0.0.1:{port}"
    start = request.getfixturevalue("start_module_edge")
    edge = start(CONFIG, vars=settings(provider, url, **more), port=port)
    assert edge.url == url
    yield Gateway(url, provider)
