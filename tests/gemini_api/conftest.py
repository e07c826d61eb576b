"""One gateway for Google's clients: Gemini, models in OpenAI's and Anthropic's formats, a mock, and embeddings."""

from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

MODELS = ("gemini", "gpt", "claude")
FORMATS = {"gemini": "gemini", "gpt": "openai", "claude": "anthropic"}


@pytest.fixture(scope="module")
def config(providers: FakeProvider) -> dict[str, Any]:
    claude = {"api_base": providers.url, "api_key": "sk-ant-provider"}
    gpt = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    gemini = {"api_base": providers.gemini_base, "api_key": "AIza-provider"}

    def model(name: str, upstream: str, params: dict[str, Any], **info: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": upstream, **params}, "model_info": info}

    return {
        "model_list": [
            model("gemini", "gemini/gemini-2.5-flash", gemini, max_input_tokens=1048576),
            model("new", "gemini/gemini-3-pro-preview", gemini),
            model("preset", "gemini/gemini-2.5-flash", {**gemini, "temperature": 0.5, "max_tokens": 50, "stop": "END"}),
            model("gpt", "openai/gpt-4o", gpt, max_output_tokens=16384),
            model("azure/gpt", "openai/gpt-4o", gpt),
            model("thinker", "openai/gpt-5", gpt),
            model("claude", "anthropic/claude-sonnet-4-6", claude),
            model("frail", "gemini/frail", gemini),
            model("mock", "openai/mock", {"mock_response": "I am only a mock."}),
            model("embedding", "gemini/gemini-embedding-001", gemini),
            model("vectors", "openai/text-embedding-3-small", gpt, mode="embedding"),
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"frail": ["gpt"]}]},
    }


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, config: dict[str, Any]) -> RunningProxy:
    return module_proxy(config)


@pytest.fixture(scope="module")
def client(gateway: RunningProxy) -> genai.Client:
    """The client sends its key as `x-goog-api-key`."""
    return genai.Client(api_key=MASTER_KEY, http_options=types.HttpOptions(base_url=gateway.url))
