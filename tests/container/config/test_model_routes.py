"""LiteLLM's route prefixes in model names."""

import pytest

from container.config.providers import split_route


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("azure", "responses/ours", ("responses", "ours")),
        ("azure", "o_series/ours", ("o_series", "ours")),
        ("azure", "gpt5_series/ours", ("gpt5_series", "ours")),
        ("openai", "responses/gpt-4.1", ("responses", "gpt-4.1")),
        ("openai", "chat_completions/local", ("chat_completions", "local")),
        ("azure", "chat_completions/ours", ("", "chat_completions/ours")),
        ("openai", "responses/", ("", "responses/")),
        ("openai", "responses", ("", "responses")),
        ("openai", "meta/llama", ("", "meta/llama")),
        ("openrouter", "responses/x", ("", "responses/x")),
        (None, "responses/x", ("", "responses/x")),
    ],
)
def test_routes(provider, model, expected):
    assert split_route(provider, model) == expected


@pytest.mark.parametrize("written", ["azure/responses/ours", "azure/o_series/ours", "azure/gpt5_series/ours"])
def test_deployment_is_called_without_its_route_prefix(deployment, written):
    d = deployment(model=written, api_key="k", api_base="https://h")
    assert (d.model, d.kind, d.route) == ("ours", "direct", written.split("/")[1])
