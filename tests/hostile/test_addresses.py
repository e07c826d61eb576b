"""Credentials in a provider's address are never exposed, whatever happens to a request."""

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider, refusing_port
from tests.metrics.conftest import MASTER
from tests.money import chat, deployment
from tests.processes import RunningProxy, StartProxy
from tests.tracing.collector import Collector
from tests.tracing.conftest import traced

PASSWORD = "hunter2-of-the-provider"


def with_a_password(base: str) -> str:
    return base.replace("http://", f"http://me:{PASSWORD}@")


@pytest.fixture
def collector():
    with Collector() as one:
        yield one


@pytest.fixture
def gateway(proxy: StartProxy, fake: FakeProvider, collector: Collector) -> RunningProxy:
    gpt, gone = deployment(fake, "gpt"), deployment(fake, "gone")
    gpt["litellm_params"]["api_base"] = with_a_password(fake.openai_base)
    gpt["litellm_params"]["timeout"] = 1
    with refusing_port() as port:
        gone["litellm_params"]["api_base"] = with_a_password(f"http://127.0.0.1:{port}/v1")
        settings = {"num_retries": 0, "disable_cooldowns": True}
        yield proxy({"model_list": [gpt, gone], "router_settings": settings}, environment=traced(collector))


def told(answer: httpx.Response) -> str:
    return f"{answer.headers} {answer.text}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        failing(401, message=f"No user at http://me:{PASSWORD}@host/v1"),
        failing(404, message=f"Nothing at http://me:{PASSWORD}@host/v1"),
        failing(500, message=f"http://host/v1?api_key={PASSWORD} is broken"),
        Behaviour(Fault.HANG_BEFORE_HEADERS),
        Behaviour(Fault.RESET_MID_STREAM),
    ],
    ids=["answers", "refuses", "has nothing", "fails", "hangs", "breaks off"],
)
def test_credentials_are_hidden_for_every_provider_response(
    gateway: RunningProxy, fake: FakeProvider, collector: Collector, behaviour: Behaviour, stream: bool
):
    fake.always(behaviour)
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=chat(stream=stream), headers=MASTER, timeout=30)
    assert PASSWORD not in told(answer)
    collector.spans(2)
    assert not any(PASSWORD.encode() in body for body in collector.bodies)
    gateway.stop()  # everything has been written by then
    assert '"api_base":' in gateway.log()
    assert PASSWORD not in gateway.log()


def test_credentials_are_hidden_in_operator_output(gateway: RunningProxy):
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=chat("gone"), headers=MASTER, timeout=30)
    assert answer.status_code == 502
    assert PASSWORD not in told(answer)
    for path in (
        "/health",
        "/health/readiness",
        "/v1/models",
        "/model/info",
        "/metrics",
        "/spend/logs",
        "/openapi.json",
    ):
        shown = httpx.get(gateway.url + path, headers=MASTER)
        assert shown.status_code == 200
        assert PASSWORD not in told(shown)


@pytest.mark.parametrize(
    "base",
    [f"me:{PASSWORD}@host/v1", f"http://me:{PASSWORD}@host:none/v1", f"https://host/v1?key={PASSWORD}", "https://"],
)
def test_model_with_an_invalid_address_is_left_out_without_repeating_it(
    proxy: StartProxy, fake: FakeProvider, base: str
):
    wrong = deployment(fake, "gpt")
    wrong["litellm_params"]["api_base"] = base
    gateway = proxy({"model_list": [wrong]})
    listed = httpx.get(gateway.url + "/v1/models", headers=MASTER)
    assert listed.json()["data"] == []
    assert "api_base" in gateway.log()
    assert PASSWORD not in gateway.log()
    assert fake.requests == []
