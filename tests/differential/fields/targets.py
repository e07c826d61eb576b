"""Every directly called provider, with one or more models of different capabilities."""

from collections.abc import Mapping
from typing import Any

from container.config.providers import DIRECT

HOST = "http://provider.example"

MODELS: Mapping[str, tuple[str, ...]] = {
    # Classic chat, reasoning, reasoning under an older name, and a model that supports tools only at `/responses`.
    "openai": ("gpt-4o", "gpt-5", "o3", "gpt-5.4"),
    "azure": ("gpt-4o", "gpt-5", "o3-mini", "my-deployment"),
    "gemini": ("gemini-2.5-flash", "gemini-3.1-pro-preview"),
    "anthropic": ("claude-sonnet-4-6", "claude-haiku-4-5"),
    "vertex_ai": ("gemini-2.5-pro", "claude-sonnet-4-6"),
    "openrouter": ("openai/gpt-5", "anthropic/claude-sonnet-4.5", "meta-llama/llama-3.3-70b-instruct"),
    "groq": ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
    "mistral": ("mistral-large-latest", "magistral-medium-latest"),
    "deepseek": ("deepseek-chat", "deepseek-reasoner"),
    "together_ai": ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "some/model"),
    "fireworks_ai": ("llama-v3p1-8b-instruct", "glm-5p3"),
    "xai": ("grok-4", "grok-3-mini"),
    "perplexity": ("sonar", "sonar-reasoning-pro"),
    "cerebras": ("llama3.1-8b", "gpt-oss-120b"),
    "nvidia_nim": ("meta/llama3-70b-instruct",),
    "deepinfra": ("meta-llama/Meta-Llama-3.1-8B-Instruct",),
    "hosted_vllm": ("qwen",),
    "ollama": ("llama3.1",),
    "ollama_chat": ("llama3.1",),
    "lm_studio": ("qwen",),
    "custom_openai": ("some-model",),
    "openai_like": ("some-model",),
}
assert MODELS.keys() == DIRECT.keys(), "each provider that is called directly, and no other"

TARGETS = tuple(f"{provider}/{model}" for provider, models in MODELS.items() for model in models)


def options(target: str) -> dict[str, Any]:
    """The litellm_params of a target, for both sides."""
    provider = target.partition("/")[0]
    if provider == "azure":
        return {"api_base": HOST, "api_key": "k", "api_version": "2025-04-01-preview"}
    if provider == "vertex_ai":
        return {"api_base": HOST, "vertex_project": "p", "vertex_location": "us-central1"}
    base = {"gemini": HOST + "/v1beta", "anthropic": HOST}.get(provider, HOST + "/v1")
    return {"api_base": base, "api_key": "k"}
