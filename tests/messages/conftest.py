"""One gateway for Anthropic's clients: Claude, models in OpenAI's and Google's formats, a mock, and an engine model."""

from typing import Any

import anthropic
import pytest

from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

MODELS = ("claude", "gpt", "gemini")
FORMATS = {"claude": "anthropic", "gpt": "openai", "gemini": "gemini"}


@pytest.fixture(scope="module")
def config(providers: FakeProvider) -> dict[str, Any]:
    claude = {"api_base": providers.url, "api_key": "sk-ant-provider"}
    gpt = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    gemini = {"api_base": providers.gemini_base, "api_key": "AIza-provider"}

    def model(name: str, upstream: str, params: dict[str, Any], **info: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": upstream, **params}, "model_info": info}

    return {
        "model_list": [
            model("claude", "anthropic/claude-sonnet-4-6", claude),
            model("gpt", "openai/gpt-4o", gpt, max_output_tokens=16384),
            model("thinker", "openai/gpt-5", gpt),
            model("gemini", "gemini/gemini-2.5-flash", gemini),
            model("frail", "anthropic/frail", claude),
            model("mock", "openai/mock", {"mock_response": "I am only a mock."}),
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"frail": ["gpt"]}]},
    }


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, config: dict[str, Any]) -> RunningProxy:
    return module_proxy(config)


@pytest.fixture
def client(gateway: RunningProxy) -> anthropic.Anthropic:
    """The client sends its key as `x-api-key`."""
    return anthropic.Anthropic(base_url=gateway.url, api_key=MASTER_KEY, max_retries=0)
