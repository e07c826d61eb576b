"""The capability table of providers and models, which must agree with the installed LiteLLM."""

import subprocess
import sys
from typing import Any

import pytest

from container.config.deployment import price_map
from container.config.providers import DIRECT
from container.formats.shared.capabilities import (
    Capabilities,
    capabilities,
    gives_reasoning,
    listed_fields,
    refuses_tools,
    served,
    streams_responses,
)
from tests.container.conftest import LoadOne
from tests.processes import ROOT


@pytest.fixture
def of(deployment: LoadOne):
    def found(model: str, info: dict[str, Any] | None = None, **params: Any) -> Capabilities:
        if model.split("/")[0] in ("azure", "hosted_vllm", "custom_openai", "openai_like"):
            params.setdefault("api_base", "http://127.0.0.1:1/v1")
        d = deployment(model=model, api_key="k", info=info, **params)
        return capabilities(d, d.model)

    return found


def test_field_file_matches_the_installed_litellm():
    made = subprocess.run(
        [sys.executable, "-c", "from dev.litellm_fields import text; print(text(), end='')"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
    )
    written = (ROOT / "container" / "formats" / "shared" / "litellm_fields.json").read_text(encoding="utf-8")
    assert made.stdout[made.stdout.index("{") :] == written


@pytest.mark.parametrize("provider", DIRECT)
def test_every_directly_called_provider_is_in_the_file(provider: str):
    assert "max_tokens" in (listed_fields(provider, "a-new-model") or ())


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-5",
        "openai/gpt-5.9-of-tomorrow",
        "openai/o3-mini",
        "openai/gpt-5-chat-latest",
        "azure/gpt-5",
        "azure/my-gpt5-mini",
        "azure/eu/o4-mini",
        "azure/o_series/mine",
    ],
)
@pytest.mark.parametrize("base", ["https://api.openai.com/v1", "http://127.0.0.1:1/v1"])
def test_newer_openai_models_have_one_limit_name(of, model: str, base: str):
    can = of(model, api_base=base)
    assert (can.limit_name, can.limit_names) == ("max_completion_tokens", ("max_completion_tokens",))


@pytest.mark.parametrize(
    "model",
    ["openai/qwen-7b", "deepseek/deepseek-chat", "mistral/mistral-large-latest", "hosted_vllm/o1x", "xai/grok-4"],
)
def test_other_models_use_the_older_limit_name(of, model: str):
    can = of(model, **({"api_base": "http://127.0.0.1:1/v1"} if model.startswith("openai/") else {}))
    assert can.limit_names == ("max_tokens",)


def test_base_model_overrides_the_azure_deployment_name(of):
    assert of("azure/production").limit_name == "max_tokens"
    can = of("azure/production", {"base_model": "azure/gpt-5-mini"})
    assert (can.limit_name, can.max_output, can.min_output) == ("max_completion_tokens", 128_000, 16)
    assert "temperature" in (can.fields or ())
    assert "stop" not in (can.fields or ())


def test_maximum_output_comes_from_the_map_unless_the_config_sets_it(of):
    assert of("openai/gpt-4o").max_output == 16_384
    assert of("openai/gpt-4o", {"max_output_tokens": 1000}).max_output == 1000
    assert of("openai/gpt-4o", {"max_output_tokens": None}).max_output == 16_384
    assert of("hosted_vllm/mine").max_output is None
    assert of("hosted_vllm/mine", {"max_output_tokens": 512}).max_output == 512
    assert of("hosted_vllm/mine", {"max_tokens": 4096}).max_output == 4096
    assert of("hosted_vllm/mine", {"max_tokens": 4096, "max_output_tokens": 512}).max_output == 512
    assert of("openai/gpt-4o", {"max_tokens": 128_000}).max_output == 16_384


def test_engine_model_has_a_maximum_output(of):
    can = of("bedrock/anthropic.claude-haiku-4-5-20251001-v1:0")
    assert can.max_output == 64_000
    assert can.fields is None


def test_only_openai_supports_the_developer_role(of):
    assert of("openai/gpt-4o").developer_role
    assert of("azure/anything").developer_role
    for model in (
        "groq/llama-3.3-70b",
        "deepseek/deepseek-chat",
        "mistral/x",
        "hosted_vllm/x",
        "openrouter/openai/gpt-5",
    ):
        assert not of(model).developer_role
    assert not of("openai/qwen-7b", api_base="http://127.0.0.1:1/v1").developer_role


def test_efforts_follow_the_map(of):
    assert of("openai/gpt-5").efforts == {"minimal", "low", "medium", "high"}
    assert {"none", "xhigh"} <= (of("openai/gpt-5.4").efforts or set())
    assert "minimal" not in (of("openai/gpt-5.4").efforts or set())
    assert of("openai/gpt-4o").efforts == frozenset()
    assert of("openai/o3").efforts == {"low", "medium", "high"}
    assert of("groq/openai/gpt-oss-20b").efforts == {"low", "medium", "high"}
    assert "xhigh" in (of("openai/gpt-5", {"supports_xhigh_reasoning_effort": True}).efforts or set())


def test_cache_markers_are_kept_where_supported(of):
    for model in ("anthropic/claude-sonnet-4-5", "openrouter/anthropic/claude-sonnet-4"):
        assert of(model).cache_markers
    for model in ("openai/gpt-4o", "groq/x", "cerebras/x", "mistral/x", "openrouter/openai/gpt-4o", "hosted_vllm/x"):
        assert not of(model).cache_markers


def test_responses_only_model_is_detected(of):
    assert of("openai/gpt-5-pro").responses == "always"
    assert of("openai/gpt-5.4").responses == "with_tools"
    assert of("openai/gpt-5").responses == "never"
    assert of("openai/gpt-5", {"mode": "responses"}).responses == "always"


def test_same_id_in_another_configuration_is_looked_up_again(deployment: LoadOne):
    one = deployment(model="openai/gpt-4o", api_key="k", info={"id": "same"})
    other = deployment(model="openai/gpt-4o", api_key="k", info={"id": "same", "max_output_tokens": 7})
    assert capabilities(one, one.model).max_output == 16_384
    assert capabilities(other, other.model).max_output == 7


def test_models_of_a_wildcard_are_distinguished(deployment: LoadOne):
    d = deployment(group="openai/*", model="openai/*", api_key="k")
    assert capabilities(d, "gpt-4o").limit_name == "max_tokens"
    assert capabilities(d, "gpt-5").limit_name == "max_completion_tokens"


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ("openai/gpt-4o", "parts"),
        ("openai/local", "parts"),
        ("azure/mine", "parts"),
        ("openrouter/x/y", "parts"),
        ("custom_openai/x", "parts"),
        ("openai_like/x", "parts"),
        ("deepseek/deepseek-chat", "only"),
        ("mistral/mistral-large-latest", "joined"),
        ("groq/llama-3.3-70b-versatile", "joined"),
        ("hosted_vllm/x", "joined"),
        ("lm_studio/x", "joined"),
    ],
)
def test_content_lists_are_kept_where_cache_markers_or_images_are_supported(of, model: str, texts: str):
    assert of(model).texts == texts


@pytest.mark.parametrize("model", ["gpt-4-turbo", "gpt-3.5-turbo-0125", "chatgpt-4o-latest", "ft:gpt-4o:org::x"])
def test_older_openai_models_are_recognized_by_name_at_any_address(of, model: str):
    can = of(f"openai/{model}", api_base="http://127.0.0.1:1/v1")
    assert (can.developer_role, can.call_id_length) == (True, 40)


@pytest.mark.parametrize(
    "model", ["gpt-oss-120b", "gpt-40b", "my-gpt-4", "gpt4all", "claude-sonnet-4-5", "deepseek-chat"]
)
def test_similar_names_are_not_openais(of, model: str):
    assert not of(f"openai/{model}", api_base="http://127.0.0.1:1/v1").developer_role


@pytest.mark.parametrize(
    ("model", "thoughts"),
    [
        ("openrouter/moonshotai/kimi-k2-thinking", "require"),
        ("hosted_vllm/moonshotai/Kimi-K2.5", "require"),
        ("openai/kimi-k2.6", "require"),
        ("openai/deepseek-reasoner", "require"),
        ("openai/local", "keep"),
        ("hosted_vllm/qwen", "keep"),
        ("groq/moonshotai/kimi-k2-instruct", "strip"),
    ],
)
def test_kimi_and_deepseek_require_earlier_reasoning(of, model: str, thoughts: str):
    assert of(model, **({"api_base": "http://127.0.0.1:1/v1"} if "openai/" in model else {})).thoughts == thoughts


def test_openrouter_calls_openais_responses_api(of):
    """https://platform.openai.com/docs/api-reference/responses/create#responses_create-max_output_tokens"""
    assert of("openrouter/openai/gpt-4.1-mini").min_output == 16
    assert of("openrouter/openai/gpt-5").min_output == 16
    assert of("openrouter/anthropic/claude-sonnet-4.5").min_output == 1


# Models that are served through the Responses API.

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
