"""Failing providers behind the engine: errors in the gateway's shape, fallbacks and truncated streams."""

import time
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conversation import leave_in_mid_stream, raw_stream
from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy

HELLO: Any = [{"role": "user", "content": "Hello there"}]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture
def client(engine_proxy: RunningProxy) -> OpenAI:
    return engine_proxy.client()


def ask(client: OpenAI, model: str, *, stream: bool = False) -> Any:
    answer = client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    return list(answer) if stream else answer


@STREAMED
@pytest.mark.parametrize("model", ["claude", "gemini"])
@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_provider_errors(client: OpenAI, provider: FakeProvider, stream, model, status, error):
    provider.always(f"{status},message=as ordered")
    with pytest.raises(error, match="as ordered") as raised:
        ask(client, model, stream=stream)
    assert raised.value.status_code == status
    assert isinstance(raised.value.body, dict)
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    assert len(provider.requests) == 1, "the engine does not retry"


def test_rate_limit_has_retry_after(client: OpenAI, provider: FakeProvider):
    provider.always("429,retry_after=7")
    with pytest.raises(openai.RateLimitError) as raised:
        ask(client, "claude")
    assert raised.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("status", ["401", "429"])
def test_errors_contain_no_secret_and_no_internal_name(client: OpenAI, provider: FakeProvider, status):
    provider.always(status)
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client, "claude")
    shown = raised.value.response.text
    assert "sk-ant-provider" not in shown
    assert provider.url not in shown
    assert "Traceback" not in shown
    assert "LiteLLM: model group" not in shown, "the engine's groups are our deployments' ids"


@STREAMED
def test_fallback_across_wire_formats(client: OpenAI, provider: FakeProvider, stream):
    provider.always("503", model="frail")
    provider.always("429", model="gemini-2.5-flash")
    answer = ask(client, "frail", stream=stream)
    assert (answer[0] if stream else answer).model == "gpt"
    assert [seen.format for seen in provider.requests] == ["anthropic", "gemini", "openai"]


@STREAMED
def test_deployment_timeout(client: OpenAI, provider: FakeProvider, stream):
    provider.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    started = time.monotonic()
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, "claude-hasty", stream=stream)
    assert raised.value.status_code == 504
    assert time.monotonic() - started < 10
    provider.wait_for(lambda: provider.last.disconnected_at)


@pytest.mark.parametrize("model", ["claude", "gemini"])
def test_stream_that_starts_with_an_error(client: OpenAI, provider: FakeProvider, model):
    provider.always(Behaviour(Fault.ERROR_FIRST_EVENT))
    with pytest.raises(openai.APIError):
        ask(client, model, stream=True)


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM, Fault.HALF_CHUNK])
def test_truncated_stream(engine_proxy: RunningProxy, provider: FakeProvider, fault):
    # Paced, because a stream that arrives in one piece with its end fails before the first byte to the client.
    provider.always(Behaviour(fault, after=3, pace=0.2))
    answer = raw_stream(engine_proxy.url, "claude")
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1].startswith('data: {"error":')
    assert "[DONE]" not in answer.text


def test_client_disconnect_ends_the_providers_work(engine_proxy: RunningProxy, provider: FakeProvider):
    provider.always(Behaviour(pace=0.1, chunks=1000, text="x" * 1000))
    leave_in_mid_stream(engine_proxy.url, "claude", "x")
    provider.wait_for(lambda: provider.last.disconnected_at, timeout=20)  # out of 100 s
