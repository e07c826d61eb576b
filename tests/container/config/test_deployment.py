"""One entry of `model_list`: who serves it, where, with which key, and what it needs."""

import pytest

from container.config import ConfigError

OPENAI_KEY = {"OPENAI_API_KEY": "sk-openai"}


# Who serves it


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
def test_the_model_names_its_provider(deployment, model, provider, name, kind):
    found = deployment(model=model)
    assert (found.provider, found.model, found.kind) == (provider, name, kind)


@pytest.mark.parametrize(
    "provider",
    "openai openrouter groq mistral deepseek together_ai fireworks_ai xai perplexity cerebras nvidia_nim deepinfra "
    "ollama ollama_chat lm_studio".split(),
)
def test_a_provider_that_speaks_openai_is_called_directly_at_its_home(deployment, provider):
    found = deployment(model=f"{provider}/some-model", api_key="sk-1")
    assert found.kind == "direct"
    assert found.base.startswith(("https://", "http://localhost:"))
    assert found.api_key == "sk-1"
    assert found.off == ()


def test_a_custom_provider_wins_over_the_models_prefix(deployment):
    found = deployment(model="deepseek/deepseek-chat", custom_llm_provider="openrouter", api_key="sk")
    assert (found.provider, found.model) == ("openrouter", "deepseek/deepseek-chat")


def test_fireworks_models_get_their_account(deployment):
    assert deployment(model="fireworks_ai/llama-v4", api_key="sk").model == "accounts/fireworks/models/llama-v4"
    assert deployment(model="fireworks_ai/accounts/me/models/x", api_key="sk").model == "accounts/me/models/x"


def test_a_parameter_that_only_litellm_knows_sends_the_deployment_through_the_engine(deployment):
    assert deployment(model="openai/gpt-4o", api_key="sk", use_in_pass_through=True).kind == "engine"


def test_a_mock_response_needs_no_provider(deployment):
    found = deployment(model="anything", mock_response="Hello!")
    assert (found.kind, found.mock_response, found.needs) == ("mock", "Hello!", ())
    assert deployment(model="openai/gpt-4o", mock_response="").kind == "mock"


def test_an_unknown_provider_is_refused_with_an_example(complaints):
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": {"model": "nonesuch/x"}}]})
    assert said.startswith("config.yaml:4: model_list[0].litellm_params.model: error: 'nonesuch/x'")
    assert "openai/gpt-4o" in said


def test_an_unknown_custom_provider_is_refused(complaints):
    params = {"model": "x", "custom_llm_provider": "nonesuch"}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "litellm_params.custom_llm_provider" in said
    assert "'nonesuch'" in said


# Keys and what is needed


def test_a_key_is_taken_from_the_environment_by_reference(deployment):
    found = deployment(model="openai/gpt-4o", api_key="os.environ/MINE", environment={"MINE": "sk-mine", **OPENAI_KEY})
    assert (found.api_key, found.needs, found.off) == ("sk-mine", ("MINE",), ())


@pytest.mark.parametrize("environment", [{}, {"MINE": ""}], ids=["unset", "empty"])
def test_a_reference_to_an_unset_variable_turns_the_deployment_off(deployment, environment):
    found = deployment(model="openai/gpt-4o", api_key="os.environ/MINE", environment={**environment, **OPENAI_KEY})
    assert (found.api_key, found.off) == (None, ("MINE",))


def test_any_parameter_may_refer_to_the_environment(deployment):
    found = deployment(
        model="azure/x",
        api_key="os.environ/A",
        api_base="os.environ/B",
        api_version="os.environ/C",
        extra_headers={"x-team": "os.environ/D"},
        environment={"A": "key", "B": "https://me.example", "C": "2025-01-01"},
    )
    assert found.needs == ("A", "B", "C", "D")
    assert found.off == ("D",)
    assert (found.api_key, found.base, found.api_version) == ("key", "https://me.example", "2025-01-01")


def test_without_a_key_the_providers_own_variable_is_needed(deployment):
    assert deployment(model="openai/gpt-4o").off == ("OPENAI_API_KEY",)
    found = deployment(model="openai/gpt-4o", environment=OPENAI_KEY)
    assert (found.api_key, found.off) == ("sk-openai", ())


def test_variables_that_serve_equally_are_one_need(deployment):
    assert deployment(model="gemini/gemini-2.5-pro").off == ("GEMINI_API_KEY|GOOGLE_API_KEY",)
    assert deployment(model="gemini/gemini-2.5-pro", environment={"GOOGLE_API_KEY": "x"}).off == ()
    assert deployment(model="together_ai/x", environment={"TOGETHER_API_KEY": "t"}).api_key == "t"


@pytest.mark.parametrize("blank", [None, ""])
def test_a_blank_parameter_is_an_absent_one(deployment, blank):
    found = deployment(model="openai/gpt-4o", api_key=blank, api_base=blank, environment=OPENAI_KEY)
    assert (found.api_key, found.base) == ("sk-openai", "https://api.openai.com/v1")


def test_engine_deployments_need_their_providers_key_unless_they_have_their_own(deployment):
    assert deployment(model="anthropic/claude-sonnet-4-6").off == ("ANTHROPIC_API_KEY",)
    assert deployment(model="anthropic/claude-sonnet-4-6", api_key="sk").off == ()
    assert deployment(model="vertex_ai/g", vertex_credentials="/key.json").off == ()
    assert deployment(model="bedrock/x").off == ()


def test_servers_without_keys_need_none_but_use_the_optional_one(deployment):
    assert deployment(model="ollama/llama3").needs == ()
    keyed = deployment(
        model="hosted_vllm/x", api_base="http://gpu:8000/v1", environment={"HOSTED_VLLM_API_KEY": "secret"}
    )
    assert (keyed.api_key, keyed.needs) == ("secret", ())


# Addresses


def test_a_base_of_its_own_replaces_the_home(deployment):
    found = deployment(model="openai/llama3", api_base="http://10.0.0.5:8000/v1/", api_key="sk")
    assert found.base == "http://10.0.0.5:8000/v1"
    assert deployment(model="openai/llama3", base_url="http://10.0.0.5/v1", api_key="sk").base == "http://10.0.0.5/v1"


def test_a_base_may_come_from_the_providers_variable(deployment):
    environment = {"OPENAI_BASE_URL": "https://proxy.example/v1", **OPENAI_KEY}
    found = deployment(model="openai/gpt-4o", environment=environment)
    assert (found.base, found.api_key) == ("https://proxy.example/v1", "sk-openai")


def test_a_provider_without_a_home_needs_its_base_variable(deployment):
    assert deployment(model="azure/x").off == ("AZURE_API_BASE", "AZURE_API_KEY")
    assert deployment(model="hosted_vllm/x").off == ("HOSTED_VLLM_API_BASE",)


def test_a_provider_without_a_home_or_a_variable_has_to_say_where_it_is(complaints):
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai_like/x"}}]})
    assert "litellm_params.api_base: error: is missing" in said


def test_the_default_key_does_not_go_to_a_strangers_address(load_config):
    params = {"model": "openai/llama3", "api_base": "http://somewhere.example/v1"}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]}, OPENAI_KEY)
    assert config.deployments[0].api_key is None
    assert config.deployments[0].off == ()
    [warning] = [str(p) for p in config.problems]
    assert "warning" in warning
    assert "OPENAI_API_KEY is not sent there" in warning


def test_the_default_key_goes_to_the_providers_own_address_written_out(deployment):
    found = deployment(model="openai/gpt-4o", api_base="https://api.openai.com/v1", environment=OPENAI_KEY)
    assert found.api_key == "sk-openai"


@pytest.mark.parametrize(
    "lookalike", ["https://api.openai.com.evil.example/v1", "https://api.openai.com@evil.example/v1"]
)
def test_the_default_key_does_not_go_to_a_lookalike(deployment, lookalike):
    assert deployment(model="openai/x", api_base=lookalike, environment=OPENAI_KEY).api_key is None


def test_ollama_is_called_below_v1(deployment):
    assert deployment(model="ollama/llama3").base == "http://localhost:11434/v1"
    assert deployment(model="ollama/llama3", api_base="http://gpu:11434").base == "http://gpu:11434/v1"
    assert deployment(model="ollama/llama3", api_base="http://gpu:11434/v1").base == "http://gpu:11434/v1"


def test_a_base_that_is_no_http_address_is_refused(complaints):
    params = {"model": "openai/x", "api_key": "sk", "api_base": "ftp://x"}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "api_base: error: is not an http(s) address" in said
    assert "ftp" not in said


def test_azure_has_a_default_version_and_takes_the_environments(deployment):
    here = {"api_base": "https://me.example", "api_key": "k"}
    assert deployment(model="azure/x", **here).api_version == "2024-10-21"
    found = deployment(model="azure/x", **here, environment={"AZURE_API_VERSION": "2025-03-01"})
    assert found.api_version == "2025-03-01"


# Headers, presets, limits


def test_extra_headers_are_lower_case_texts_and_the_organization_is_one(deployment):
    found = deployment(model="openai/x", api_key="k", extra_headers={"X-Team": "a", "X-N": 5}, organization="org-1")
    assert found.extra_headers == {"x-team": "a", "x-n": "5", "openai-organization": "org-1"}


@pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x\n-a": "1"}])
def test_a_header_with_a_line_break_is_refused(complaints, headers):
    params = {"model": "openai/x", "api_key": "k", "extra_headers": headers}
    said = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "holds a line break" in "".join(said)


def test_request_fields_are_presets_and_extra_body_is_spread(deployment):
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rpm", "many"),
        ("rpm", 1.5),
        ("rpm", -1),
        ("tpm", True),
        ("timeout", "soon"),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("weight", [1]),
        ("max_retries", {}),
    ],
)
def test_a_limit_that_is_no_number_names_its_key(complaints, name, value):
    params = {"model": "openai/x", "api_key": "k", name: value}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert f"model_list[0].litellm_params.{name}: error: has to be a" in said


@pytest.mark.parametrize("name", ["api_key", "api_base", "api_version", "organization"])
def test_a_parameter_that_has_to_be_text_is_refused_as_anything_else(complaints, name):
    params = {"model": "azure/x", "api_key": "k", "api_base": "https://x", name: 5}
    said = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert [line for line in said if f"litellm_params.{name}: error: has to be text" in line]


# Mistakes


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("text", "model_list[0]"),
        ({"litellm_params": {"model": "openai/x"}}, "model_list[0].model_name"),
        ({"model_name": " ", "litellm_params": {"model": "openai/x"}}, "model_list[0].model_name"),
        ({"model_name": 5, "litellm_params": {"model": "openai/x"}}, "model_list[0].model_name"),
        ({"model_name": "m"}, "model_list[0].litellm_params.model"),
        ({"model_name": "m", "litellm_params": []}, "model_list[0].litellm_params.model"),
        ({"model_name": "m", "litellm_params": {"model": ""}}, "model_list[0].litellm_params.model"),
        ({"model_name": "m", "litellm_params": {"model": "openai/x"}, "rpm": 1}, "model_list[0].rpm"),
        ({"model_name": "m", "litellm_params": {"model": "openai/x"}, "model_info": [1]}, "model_list[0].model_info"),
        (
            {"model_name": "m", "litellm_params": {"model": "openai/x", "extra_headers": "x"}},
            "model_list[0].litellm_params.extra_headers",
        ),
        (
            {"model_name": "m", "litellm_params": {"model": "openai/x", "extra_body": "x"}},
            "model_list[0].litellm_params.extra_body",
        ),
        (
            {"model_name": "m", "litellm_params": {"model": "openai/x", "custom_llm_provider": 5}},
            "model_list[0].litellm_params.custom_llm_provider",
        ),
    ],
)
def test_a_broken_entry_names_line_and_key(complaints, entry, key):
    [said] = complaints({"model_list": [entry]})
    place, _, _ = said.partition(": error: ")
    file, line, named = place.split(":")
    assert (file, named.strip()) == ("config.yaml", key)
    assert int(line) >= 2


def test_a_name_that_yaml_takes_for_something_else_wants_quotes(complaints):
    [said] = complaints({"model_list": [{"model_name": False, "litellm_params": {"model": "openai/x"}}]})
    assert said.endswith("model_list[0].model_name: error: is no text: YAML reads it as False. Put the name in quotes.")


# Identity and secrets


def test_ids_are_stable_unique_and_may_be_given(load_config):
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


def test_an_id_does_not_depend_on_a_secret_in_the_file(deployment):
    ids = {deployment(model="openai/x", api_key=key).id for key in ("sk-one", "sk-two")}
    assert len(ids) == 1


def test_two_deployments_with_one_id_are_refused(complaints):
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": {"id": "one"}}
    [said] = complaints({"model_list": [entry, entry]})
    assert "model_list[1].model_info.id: error: 'one' stands twice" in said


def test_secrets_are_not_in_the_representation(deployment):
    found = deployment(
        model="openai/x", api_key="os.environ/K", extra_headers={"x-key": "s3cret-2"}, environment={"K": "s3cret-1"}
    )
    assert "s3cret" not in repr(found)


def test_a_wildcard_is_one(deployment):
    assert deployment(group="openrouter/*", model="openrouter/*", api_key="k").wildcard
    assert not deployment(group="openrouter", model="openrouter/auto", api_key="k").wildcard


def test_a_mistake_never_quotes_a_secret(load_config):
    params = {"model": "openai/x", "api_key": ["sk-secret"]}
    with pytest.raises(ConfigError) as caught:
        load_config({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(("slip", "meant"), [("api_bas", "api_base"), ("temprature", "temperature")])
def test_a_slip_of_the_pen_is_no_parameter_of_litellms(complaints, slip, meant):
    params = {"model": "openai/x", "api_key": "k", slip: "1"}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert f"{slip}: error: is not known. Did you mean `{meant}`?" in said


def test_a_parameter_of_litellms_says_that_it_takes_the_model_through_the_engine(load_config):
    params = {"model": "openai/x", "api_key": "k", "itpm": 5}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert config.deployments[0].kind == "engine"
    assert any("itpm: note: is LiteLLM's to know" in str(p) for p in config.problems)


@pytest.mark.parametrize("key", ["$KEY", "${KEY}", "os.environ.KEY", "os.env/KEY", "env:KEY", "%KEY%"])
def test_a_reference_in_another_programs_spelling_is_not_taken_for_a_key(complaints, key):
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": key}}]})
    assert "Write `os.environ/NAME`." in said
