"""Providers that are reached through an HTTP proxy, by a whole gateway."""

import base64
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.http_proxy import HttpProxy
from tests.fakes.server import FakeProvider, refusing_port
from tests.money import chat
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

PASSWORD = "s3cret-of-the-proxy"
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def model(name: str, base: str) -> dict:
    return {"model_name": name, "litellm_params": {"model": "openai/x", "api_base": base, "api_key": "sk-provider"}}


def config(fake: FakeProvider) -> dict:
    models = {
        "away": "http://provider.example/v1",
        "secure": "https://provider.example/v1",
        "exempt": "http://exempt.example/v1",
        "here": fake.openai_base,
    }
    return {
        "model_list": [model(name, base) for name, base in models.items()],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


@pytest.fixture
def between(fake: FakeProvider) -> Iterator[HttpProxy]:
    with HttpProxy({"provider.example": fake.port}, credentials=f"me:{PASSWORD}") as one:
        yield one


def ask(gateway: RunningProxy, name: str, *, stream: bool = False) -> httpx.Response:
    url = f"{gateway.url}/v1/chat/completions"
    return httpx.post(url, json=chat(name, stream=stream), headers=HEADERS, timeout=30, trust_env=False)


def test_providers_are_reached_through_the_proxy_and_loopback_directly(
    proxy: StartProxy, fake: FakeProvider, between: HttpProxy
):
    address = between.url.replace("//", f"//me:{PASSWORD}@")
    gateway = proxy(
        config(fake),
        environment={
            "HTTP_PROXY": address,
            "https_proxy": address,
            "NO_PROXY": "exempt.example",
            "CONNECT_TIMEOUT": "2",
        },
    )
    assert ask(gateway, "away").status_code == 200
    assert "[DONE]" in ask(gateway, "away", stream=True).text
    line = "POST http://provider.example/v1/chat/completions HTTP/1.1"
    assert between.seen == [line] * 2
    assert ask(gateway, "here").status_code == 200
    ask(gateway, "exempt")  # its name cannot be resolved
    assert between.seen == [line] * 2
    assert ask(gateway, "secure").status_code == 502  # the fake speaks no TLS
    assert between.seen[2:] == ["CONNECT provider.example:443 HTTP/1.1"]
    gateway.stop()
    assert PASSWORD not in gateway.log()
    assert base64.b64encode(f"me:{PASSWORD}".encode()).decode() not in gateway.log()


@pytest.mark.parametrize("name", ["away", "secure"])
def test_a_failing_proxy_is_named_in_the_error(proxy: StartProxy, fake: FakeProvider, between: HttpProxy, name: str):
    wrong = between.url.replace("//", "//me:wrong-password@")
    gateway = proxy(config(fake), environment={"HTTP_PROXY": wrong, "HTTPS_PROXY": wrong})
    answer = ask(gateway, name)
    assert answer.status_code == 502
    assert "HTTP proxy answered 407" in answer.text
    assert "wrong-password" not in answer.text


def test_a_proxy_that_is_not_there_is_named_in_the_error(proxy: StartProxy, fake: FakeProvider):
    with refusing_port() as port:
        gateway = proxy(config(fake), environment={"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
        answer = ask(gateway, "secure")
    assert answer.status_code == 502
    assert "HTTP proxy" in answer.text
