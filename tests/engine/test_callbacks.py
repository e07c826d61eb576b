"""`success_callback` and `failure_callback`: every model goes through the engine, which runs the callbacks, streamed
or not."""

import json
import time
from collections.abc import Iterator

import openai
import pytest

from tests.engine.receiver import Receiver
from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy
from tests.tracing.collector import Collector

MODELS = ("gpt", "claude", "gemini")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture(scope="module")
def langfuse() -> Iterator[Collector]:
    """Langfuse accepts OpenTelemetry traces."""
    with Collector() as one:
        yield one


@pytest.fixture(scope="module")
def called_back(
    module_proxy: StartProxy, providers: FakeProvider, receiver: Receiver, langfuse: Collector
) -> RunningProxy:
    """Models that would be called directly without the callbacks."""
    params = (
        {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"},
        {"model": "anthropic/claude-sonnet-4-6", "api_base": providers.url, "api_key": "sk-ant-provider"},
        {"model": "gemini/gemini-2.5-flash", "api_base": providers.gemini_base, "api_key": "AIza-provider"},
    )
    return module_proxy(
        {
            "model_list": [
                {"model_name": name, "litellm_params": one} for name, one in zip(MODELS, params, strict=True)
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "litellm_settings": {
                "success_callback": ["generic_api", "langfuse"],
                "failure_callback": ["generic_api"],
            },
        },
        environment={
            "GENERIC_LOGGER_ENDPOINT": receiver.url,
            "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",  # LiteLLM's batching interval; the default is 5
            "LANGFUSE_HOST": langfuse.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-of-the-tests",
            "LANGFUSE_SECRET_KEY": "sk-lf-of-the-tests",
        },
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model", MODELS)
def test_success_reaches_the_callback(
    called_back: RunningProxy, provider: FakeProvider, receiver: Receiver, model: str, stream: bool
):
    words = f"a word from {model}, {'streamed' if stream else 'plain'}"
    answer = called_back.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": words}], stream=stream
    )
    if stream:
        assert "".join(c.choices[0].delta.content or "" for c in answer if c.choices) == words
    told = receiver.wait_for(words, "success")
    assert words in json.dumps(told["response"])
    assert told["total_tokens"] > 0
    # Direct calls have our user agent.
    assert [
        seen.headers["user-agent"] for seen in provider.requests if "litellm-router" in seen.headers["user-agent"]
    ] == []
    assert len(provider.requests) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("model", MODELS)
def test_failure_reaches_the_callback(
    called_back: RunningProxy, provider: FakeProvider, receiver: Receiver, model: str
):
    provider.always(failing(500))
    words = f"a word that {model} fails at"
    with pytest.raises(openai.APIStatusError):
        called_back.client().chat.completions.create(model=model, messages=[{"role": "user", "content": words}])
    assert receiver.wait_for(words, "failure")["error_str"]


@pytest.mark.timeout(240)
def test_langfuse_receives_traces(called_back: RunningProxy, provider: FakeProvider, langfuse: Collector):
    words = "a word for Langfuse"
    called_back.client().chat.completions.create(model="gpt", messages=[{"role": "user", "content": words}])
    end = time.monotonic() + 60
    while not any(words.encode() in body for body in langfuse.bodies):
        assert time.monotonic() < end, langfuse.paths
        time.sleep(0.1)
    assert all("otel" in path for path in langfuse.paths)
