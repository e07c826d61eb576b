"""One entry of `model_list`: its provider, headers, presets, limits and ID."""

import pytest

from container.config.deployment import split_route

OPENAI_KEY = {"OPENAI_API_KEY": "sk-openai"}


# Provider


@pytest.mark.parametrize(
    ("model", "provider", "name", "kind"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o", "direct"),
        ("gpt-4o", "openai", "gpt-4o", "direct"),
        ("openrouter/openai/gpt-4o-mini", "openrouter", "openai/gpt-4o-mini", "direct"),
        ("groq/openai/gpt-oss-20b", "groq", "openai/gpt-oss-20b", "direct"),
        ("anthropic/claude-sonnet-4-6", "anthropic", "claude-sonnet-4-6", "direct"),
        ("claude-sonnet-4-6", "anthropic", "claude-sonnet-4-6", "direct"),
        ("gemini/gemini-2.5-pro", "gemini", "gemini-2.5-pro", "direct"),
        ("gemini/gemma-3-27b-it", "gemini", "gemma-3-27b-it", "direct"),
        ("gemini/*", "gemini", "*", "direct"),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "bedrock", "anthropic.claude-3-sonnet-20240229-v1:0", "engine"),
        ("gemini/gemini-embedding-001", "gemini", "gemini-embedding-001", "engine"),
        ("gemini/text-embedding-004", "gemini", "text-embedding-004", "engine"),
        ("gemini/gemini-2.5-flash-preview-tts", "gemini", "gemini-2.5-flash-preview-tts", "engine"),
        ("gemini/imagen-4.0-generate-001", "gemini", "imagen-4.0-generate-001", "engine"),
        ("vertex_ai/gemini-3.1-pro-preview", "vertex_ai", "gemini-3.1-pro-preview", "direct"),
        ("vertex_ai/gemini/4965075652664360960", "vertex_ai", "gemini/4965075652664360960", "direct"),
        ("vertex_ai/*", "vertex_ai", "*", "direct"),
        ("vertex_ai/claude-sonnet-4-5@20250929", "vertex_ai", "claude-sonnet-4-5@20250929", "direct"),
        ("vertex_ai/meta/llama-4-maverick-17b", "vertex_ai", "meta/llama-4-maverick-17b", "engine"),
        ("vertex_ai/text-embedding-005", "vertex_ai", "text-embedding-005", "engine"),
        ("bedrock/us.amazon.nova-pro-v1:0", "bedrock", "us.amazon.nova-pro-v1:0", "engine"),
        ("replicate/openai/gpt-oss-20b", "replicate", "openai/gpt-oss-20b", "engine"),
        ("command-r", "cohere_chat", "command-r", "engine"),
    ],
)
def test_model_prefix_selects_the_provider(deployment, model, provider, name, kind):
    found = deployment(model=model)
    assert (found.provider, found.model, found.kind) == (provider, name, kind)


@pytest.mark.parametrize(
    ("base", "provider"),
    [
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://openrouter.ai/api/v1/", "openrouter"),
    ],
)
def test_model_without_a_provider_uses_that_of_the_address(deployment, base, provider):
    assert deployment(model="some-model", api_base=base, api_key="k").provider == provider


def test_model_without_a_provider_at_a_custom_address_is_left_out(load_config):
    params = {"model": "some-model", "api_base": "http://127.0.0.1:8000/v1"}
    assert load_config({"model_list": [{"model_name": "m", "litellm_params": params}]}).groups == {}


def test_name_and_model_info_may_be_variables(load_config):
    entry = {
        "model_name": "os.environ/NAME",
        "litellm_params": {"model": "openai/x", "api_key": "k"},
        "model_info": {"id": "os.environ/ID", "base_model": "os.environ/UNSET"},
    }
    [found] = load_config({"model_list": [entry]}, {"NAME": "shown", "ID": "one"}).deployments
    assert (found.group, found.id) == ("shown", "one")


def test_version_parsed_as_a_date_becomes_text_again(load_config):
    text = """\
        model_list:
          - model_name: m
            litellm_params: {model: azure/x, api_base: "https://a.example", api_key: k, api_version: 2024-10-21}
        """
    assert load_config(text).deployments[0].api_version == "2024-10-21"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "engine"), ("true", "engine"), ("os.environ/MERGE", "engine"), (False, "direct"), (None, "direct")],
)
def test_merging_reasoning_into_content_requires_the_engine(load_config, value, kind):
    params = {"model": "openai/x", "api_key": "k", "merge_reasoning_content_in_choices": value}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]}, {"MERGE": "True"})
    assert config.deployments[0].kind == kind


@pytest.mark.parametrize(
    "name", ["timeout", "stream_timeout", "rpm", "num_retries", "order", "weight", "extra_headers"]
)
def test_blank_parameter_uses_the_default(deployment, name):
    assert getattr(deployment(model="openai/x", api_key="k", **{name: ""}), name) in (None, {})


@pytest.mark.parametrize(
    "provider",
    "openai openrouter groq mistral deepseek together_ai fireworks_ai xai perplexity cerebras nvidia_nim deepinfra "
    "ollama ollama_chat lm_studio".split(),
)
def test_openai_compatible_provider_is_called_directly_at_its_default_address(deployment, provider):
    found = deployment(model=f"{provider}/some-model", api_key="sk-1")
    assert found.kind == "direct"
    assert found.base.startswith(("https://", "http://localhost:"))
    assert found.api_key == "sk-1"
    assert found.off == ()


def test_custom_provider_overrides_the_model_prefix(deployment):
    found = deployment(model="deepseek/deepseek-chat", custom_llm_provider="openrouter", api_key="sk")
    assert (found.provider, found.model) == ("openrouter", "deepseek/deepseek-chat")


def test_fireworks_model_gets_its_account_prefix(deployment):
    assert deployment(model="fireworks_ai/llama-v4", api_key="sk").model == "accounts/fireworks/models/llama-v4"
    assert deployment(model="fireworks_ai/accounts/me/models/x", api_key="sk").model == "accounts/me/models/x"


def test_litellm_only_parameter_requires_the_engine(deployment):
    assert deployment(model="openai/gpt-4o", api_key="sk", azure_ad_token="t").kind == "engine"


def test_parameter_without_effect_does_not_require_the_engine(deployment):
    found = deployment(model="openai/gpt-4o", api_key="sk", use_in_pass_through=True, tags=["a"], rpm=None)
    assert (found.kind, found.rpm) == ("direct", None)


@pytest.mark.parametrize("blank", ["temperature", "max_tokens", "mock_response", "azure_ad_token", "extra_headers"])
def test_blank_parameter_is_ignored(deployment, blank):
    found = deployment(model="openai/gpt-4o", api_key="sk", **{blank: None})
    assert (found.kind, found.presets, found.extra_headers) == ("direct", {}, {})


def test_model_may_be_a_variable(deployment):
    found = deployment(model="os.environ/M", environment={"M": "anthropic/claude-x", "ANTHROPIC_API_KEY": "k"})
    assert (found.provider, found.model, found.kind, found.off) == ("anthropic", "claude-x", "direct", ())
    assert deployment(model="os.environ/M").off == ("M",)


@pytest.mark.parametrize(
    ("model", "provider"), [("amazon.titan-embed-text-v1", "bedrock"), ("codestral/codestral-latest", "codestral")]
)
def test_model_without_a_provider_is_looked_up_in_litellms_map(deployment, model, provider):
    assert deployment(model=model, api_key="k").provider == provider


def test_order_is_read(deployment):
    assert deployment(model="openai/x", api_key="k", order="2").order == 2
    assert deployment(model="openai/x", api_key="k").order is None


def test_mock_response_requires_no_provider(deployment):
    found = deployment(model="anything", mock_response="Hello!")
    assert (found.kind, found.mock_response, found.needs) == ("mock", "Hello!", ())
    assert deployment(model="openai/gpt-4o", mock_response="").kind == "mock"


# Headers, presets, limits


def test_extra_headers_are_lowercase_and_include_the_organization(deployment):
    found = deployment(model="openai/x", api_key="k", extra_headers={"X-Team": "a", "X-N": 5}, organization="org-1")
    assert found.extra_headers == {"x-team": "a", "x-n": "5", "openai-organization": "org-1"}


def test_request_fields_are_presets_and_extra_body_is_merged(deployment):
    found = deployment(
        model="openai/x", api_key="k", temperature=0.5, max_tokens=10, extra_body={"guided_json": {"a": 1}}
    )
    assert found.kind == "direct"
    assert found.presets == {"temperature": 0.5, "max_tokens": 10, "guided_json": {"a": 1}}


def test_limits_are_read(deployment):
    found = deployment(
        model="openai/x",
        api_key="k",
        weight=2,
        rpm=60,
        tpm="1000",
        timeout=1.5,
        stream_timeout=2,
        max_parallel_requests=3,
        max_retries=0,
    )
    assert (found.weight, found.rpm, found.tpm) == (2.0, 60, 1000)
    assert (found.timeout, found.stream_timeout) == (1.5, 2.0)
    assert (found.max_parallel_requests, found.num_retries) == (3, 0)


# IDs and secrets


def test_ids_are_stable_unique_and_configurable(load_config):
    content = {
        "model_list": [
            {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}},
            {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}},
            {"model_name": "b", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": {"id": "mine"}},
        ]
    }
    ids = [d.id for d in load_config(content).deployments]
    assert ids == [d.id for d in load_config(content, OPENAI_KEY).deployments]
    assert len(set(ids)) == 3
    assert ids[2] == "mine"


def test_id_does_not_depend_on_a_secret_in_the_file(deployment):
    ids = {deployment(model="openai/x", api_key=key).id for key in ("sk-one", "sk-two")}
    assert len(ids) == 1


def test_secrets_are_not_in_the_repr(deployment):
    found = deployment(
        model="openai/x", api_key="os.environ/K", extra_headers={"x-key": "s3cret-2"}, environment={"K": "s3cret-1"}
    )
    assert "s3cret" not in repr(found)


def test_wildcard_is_detected(deployment):
    assert deployment(group="openrouter/*", model="openrouter/*", api_key="k").wildcard
    assert not deployment(group="openrouter", model="openrouter/auto", api_key="k").wildcard


def test_engine_only_parameter_is_reported(load_config):
    params = {"model": "openai/x", "api_key": "k", "itpm": 5}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert config.deployments[0].kind == "engine"
    assert any("itpm: note: is LiteLLM's to know" in str(p) for p in config.problems)


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
