"""Models that are served through the Responses API."""

import pytest

from container.config.price_map import price_map
from container.formats.shared.capabilities import (
    capabilities,
    gives_reasoning,
    refuses_tools,
    served,
    streams_responses,
)

TOOL = {"type": "function", "function": {"name": "f"}}
ANSWER_IN_TEXT = ("chat", "responses")


@pytest.mark.parametrize("provider", ["openai", "azure", "xai", "perplexity"])
def test_table_agrees_with_litellms_map(deployment, provider):
    """Listed endpoints take precedence over the mode. Azure's regional entries have less data and are excluded."""
    known = {
        name.removeprefix(f"{provider}/"): entry
        for name, entry in price_map().items()
        if entry.get("litellm_provider") == provider
        and entry.get("mode") in ANSWER_IN_TEXT
        and not name.startswith(("azure/eu/", "azure/us/"))
    }
    assert len(known) > 10
    d = deployment(model=f"{provider}/x", api_key="k", api_base="http://h")
    for name, entry in known.items():
        endpoints = entry.get("supported_endpoints") or ()
        alone = "/v1/responses" in endpoints and "/v1/chat/completions" not in endpoints
        expected = entry["mode"] == "responses" or alone
        assert (served(d, name) == "always") == expected, name


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5.4", "with_tools"),
        ("gpt-5.4-mini-2026-03-05", "with_tools"),
        ("gpt-6", "with_tools"),
        ("gpt-5.10", "with_tools"),
        ("gpt-5", "never"),
        ("gpt-5.3-chat-latest", "never"),
        ("gpt-5-search-api", "never"),
        ("gpt-4o", "never"),
        ("gpt-35-turbo", "never"),
        ("o3", "never"),
        ("gpt-7.1-codex", "always"),
        ("gpt-5.9-pro", "always"),
        ("o5-pro", "always"),
        ("responses/gpt-4o", "always"),
        ("gpt-4o-professional", "never"),
    ],
)
def test_models_missing_from_the_map(deployment, model, expected):
    d = deployment(model="openai/x", api_key="k")
    assert served(d, model) == expected
    assert capabilities(d, model).responses == expected


def test_azure_deployment_uses_its_base_model(deployment):
    d = deployment(model="azure/ours", api_key="k", api_base="https://h", info={"base_model": "azure/gpt-5.4"})
    assert served(d, "ours") == "with_tools"
    assert served(deployment(model="azure/ours", api_key="k", api_base="https://h"), "ours") == "never"


@pytest.mark.parametrize(
    ("mode", "model", "expected"),
    [("responses", "x", "always"), ("chat", "gpt-5-pro", "never"), ("chat", "gpt-5.4", "with_tools")],
)
def test_config_takes_precedence(deployment, mode, model, expected):
    d = deployment(model="openai/x", api_key="k", info={"mode": mode})
    assert served(d, model) == expected


def test_route_prefix_selects_responses(deployment):
    assert served(deployment(model="openai/responses/gpt-4o", api_key="k"), "gpt-4o") == "always"


@pytest.mark.parametrize(
    ("base", "fields", "expected"),
    [
        ("https://api.openai.com/v1", {"tools": [TOOL]}, True),
        ("https://eu.api.openai.com/v1", {"tools": [TOOL]}, True),
        ("https://own.example/v1", {"tools": [TOOL]}, False),
        ("https://own.example/v1", {"tools": [TOOL], "reasoning_effort": "low"}, True),
        ("https://own.example/v1", {"tools": [TOOL], "reasoning_effort": "none"}, False),
        ("https://own.example/v1", {"tools": [TOOL], "reasoning_effort": {"effort": "none"}}, False),
        ("https://own.example/v1", {"tools": [TOOL], "reasoning_effort": {"effort": "low"}}, True),
        ("https://api.openai.com/v1", {"tools": [{"type": "custom", "custom": {}}]}, False),
        ("https://api.openai.com/v1", {"tools": []}, False),
        ("https://api.openai.com/v1", {"tools": None, "reasoning_effort": "high"}, False),
    ],
)
def test_function_tools_with_reasoning(deployment, base, fields, expected):
    d = deployment(model="openai/gpt-5.4", api_key="k", api_base=base)
    assert refuses_tools(d, "gpt-5.4", fields) is expected


def test_always_reasoning_models_do_not_support_tools_in_chat(deployment):
    fields = {"tools": [TOOL], "reasoning_effort": "none"}
    d = deployment(model="openai/x", api_key="k")
    known = price_map()
    for name in ("gpt-5.4", "gpt-5.5", "gpt-6-astra", "gpt-6.1-sol", "gpt-6-luna"):
        always = known[name].get("supports_none_reasoning_effort") is False
        assert refuses_tools(d, name, fields) is always, name


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-5.1", True), ("o4-mini", True), ("gpt-4o", False), ("gpt-5-chat-latest", False)]
)
def test_providers_that_return_reasoning(deployment, model, expected):
    assert gives_reasoning(deployment(model="openai/x", api_key="k"), model) is expected


def test_models_that_stream(deployment):
    d = deployment(model="openai/x", api_key="k")
    for name, entry in price_map().items():
        if entry.get("litellm_provider") == "openai" and entry.get("mode") == "responses":
            assert streams_responses(d, name) is entry.get("supports_native_streaming", True), name
