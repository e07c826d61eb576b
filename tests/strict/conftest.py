"""A proxy before each strict provider: one that rejects unsupported fields, and one with `drop_params`."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.fakes import strict
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, StartProxy

MODELS = {
    "openai": ("gpt-4o", "gpt-5", "o3"),
    "azure": ("gpt-4o", "gpt-5"),
    "groq": ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
    "mistral": ("mistral-large-latest",),
    "deepseek": ("deepseek-chat", "deepseek-reasoner"),
    "together_ai": ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",),
    "fireworks_ai": ("glm-5p3",),
    "xai": ("grok-4", "grok-3-mini"),
    "perplexity": ("sonar",),
    "cerebras": ("llama3.1-8b", "gpt-oss-120b"),
    "nvidia_nim": ("meta/llama3-70b-instruct",),
    "deepinfra": ("meta-llama/Meta-Llama-3.1-8B-Instruct",),
    "hosted_vllm": ("qwen",),
    "openrouter": ("anthropic/claude-sonnet-4.5",),
    "anthropic": ("claude-sonnet-4-6", "claude-haiku-4-5"),
    "gemini": ("gemini-2.5-flash", "gemini-3.1-pro-preview"),
}
TARGETS = tuple(f"{provider}/{model}" for provider, models in MODELS.items() for model in models)
# These do not support tools.
WITHOUT_TOOLS = ("perplexity/sonar",)


class Gateway(NamedTuple):
    url: str
    fake: FakeProvider

    @property
    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=MASTER_KEY, max_retries=0)

    @property
    def anthropic(self) -> Anthropic:
        # With a timeout, because the SDK otherwise requires streaming for large outputs.
        return Anthropic(base_url=self.url, api_key=MASTER_KEY, max_retries=0, timeout=30)

    def refused(self) -> list[Any]:
        """The errors of the provider since the last call."""
        refused = [seen.body for seen in self.fake.requests if seen.refused]
        self.fake.reset()
        return refused


def _config(fake: FakeProvider, *, drop_params: bool) -> dict[str, Any]:
    def params(target: str) -> dict[str, Any]:
        provider = target.partition("/")[0]
        more = {"api_version": "2025-04-01-preview"} if provider == "azure" else {}
        return {"model": target, "api_base": strict.base(fake.url, provider), "api_key": "sk-provider", **more}

    return {
        "model_list": [{"model_name": target, "litellm_params": params(target)} for target in TARGETS],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"drop_params": drop_params},
    }


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(fake: FakeProvider, module_proxy: StartProxy) -> Gateway:
    return Gateway(module_proxy(_config(fake, drop_params=False)).url, fake)


@pytest.fixture(scope="module")
def dropping(fake: FakeProvider, module_proxy: StartProxy) -> Gateway:
    """The gateway with `drop_params`."""
    return Gateway(module_proxy(_config(fake, drop_params=True)).url, fake)
