"""The model names that a wildcard lists: the provider's models in LiteLLM's map."""

import pytest

from container.handlers.public import wildcard_names
from container.routing.router import Groups

KNOWN = {
    "gpt-4o": {"litellm_provider": "openai"},
    "gpt-4o-mini": {"litellm_provider": "openai"},
    "ft:gpt-4o": {"litellm_provider": "openai"},
    "groq/llama-x": {"litellm_provider": "groq"},
    "openrouter/anthropic/claude": {"litellm_provider": "openrouter"},
    "gemini-pro": {"litellm_provider": "vertex_ai-language-models"},
    "amazon.nova": {"litellm_provider": "bedrock_converse"},
    "azure/gpt-4o": {"litellm_provider": "azure"},
    "sample_spec": {"litellm_provider": "one of many"},
}


@pytest.mark.parametrize(
    ("group", "model", "found"),
    [
        ("openai/*", "openai/*", ["openai/gpt-4o", "openai/gpt-4o-mini"]),
        ("mine-*", "openai/gpt-4o*", ["mine--mini"]),
        ("*", "groq/*", ["llama-x"]),
        ("groq/*", "groq/*", ["groq/llama-x"]),
        ("openrouter/*", "openrouter/*", ["openrouter/anthropic/claude"]),
        ("claude/*", "openrouter/anthropic/*", ["claude/claude"]),
        ("vertex_ai/*", "vertex_ai/*", ["vertex_ai/gemini-pro"]),
        ("bedrock/*", "bedrock/*", ["bedrock/amazon.nova"]),
        ("azure/*", "azure/*", []),
        ("all/*", "groq/one-model", []),
    ],
)
def test_names_match_the_patterns_of_group_and_model(load_config, group, model, found):
    config = load_config({"model_list": [{"model_name": group, "litellm_params": {"model": model, "api_key": "k"}}]})
    listed = wildcard_names(config.deployments, KNOWN)
    assert listed == found
    groups = Groups(config)
    for name in listed:  # Routing maps each name to the model it represents.
        [target] = groups.targets(name)
        assert any(known.endswith(target.model) for known in KNOWN), target
