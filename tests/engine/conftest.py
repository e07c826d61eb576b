"""Claude and Gemini through the engine, in their own wire formats. A parameter that only LiteLLM knows sends them
there. Started once for all tests in this folder."""

from typing import Any

import pytest

from tests import forked
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy

# A parameter that only LiteLLM knows and that has no effect at these providers.
THROUGH_THE_ENGINE = {"azure_scope": "of-nobody"}


@pytest.fixture(scope="session", autouse=True)
def _engines() -> None:
    forked.wait_for_engines()


@pytest.fixture(scope="session")
def config(providers: FakeProvider) -> dict[str, Any]:
    """LiteLLM appends `/v1/messages` to Anthropic's `api_base` and `/models/{model}:generateContent` to Gemini's."""
    anthropic = {"api_base": providers.url, "api_key": "sk-ant-provider", **THROUGH_THE_ENGINE}
    gemini = {"api_base": providers.gemini_base, "api_key": "AIza-provider", **THROUGH_THE_ENGINE}
    return {
        "model_list": [
            {"model_name": "claude", "litellm_params": {"model": "anthropic/claude-sonnet-4-6", **anthropic}},
            {"model_name": "gemini", "litellm_params": {"model": "gemini/gemini-2.5-flash", **gemini}},
            {"model_name": "claude-hasty", "litellm_params": {"model": "anthropic/slow", "timeout": 1, **anthropic}},
            {"model_name": "anthropic/*", "litellm_params": {"model": "anthropic/*", **anthropic}},
            {"model_name": "frail", "litellm_params": {"model": "anthropic/frail", **anthropic}},
            {
                "model_name": "gpt",
                "litellm_params": {
                    "model": "openai/gpt-4o",
                    "api_base": providers.openai_base,
                    "api_key": "sk-provider",
                },
            },
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"frail": ["gemini", "gpt"]}]},
    }


@pytest.fixture(scope="session")
def engine_proxy(session_proxy: StartProxy, config: dict[str, Any]) -> RunningProxy:
    return session_proxy(config, environment={"STREAM_KEEPALIVE": "1"})
