"""A deployment's address, its API key and the variables it requires."""

import pytest

OPENAI_KEY = {"OPENAI_API_KEY": "sk-openai"}


# Keys and required variables


def test_key_comes_from_the_referenced_variable(deployment):
    found = deployment(model="openai/gpt-4o", api_key="os.environ/MINE", environment={"MINE": "sk-mine", **OPENAI_KEY})
    assert (found.api_key, found.needs, found.off) == ("sk-mine", ("MINE",), ())


@pytest.mark.parametrize("environment", [{}, {"MINE": ""}], ids=["unset", "empty"])
def test_a_reference_to_an_unset_variable_turns_the_deployment_off(deployment, environment):
    found = deployment(model="openai/gpt-4o", api_key="os.environ/MINE", environment={**environment, **OPENAI_KEY})
    assert (found.api_key, found.off) == (None, ("MINE",))


def test_any_parameter_may_reference_the_environment(deployment):
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


def test_without_a_key_the_providers_variable_is_required(deployment):
    assert deployment(model="openai/gpt-4o").off == ("OPENAI_API_KEY",)
    found = deployment(model="openai/gpt-4o", environment=OPENAI_KEY)
    assert (found.api_key, found.off) == ("sk-openai", ())


def test_alternative_variables_are_one_requirement(deployment):
    assert deployment(model="gemini/gemini-2.5-pro").off == ("GEMINI_API_KEY|GOOGLE_API_KEY",)
    assert deployment(model="gemini/gemini-2.5-pro", environment={"GOOGLE_API_KEY": "x"}).off == ()
    assert deployment(model="together_ai/x", environment={"TOGETHER_API_KEY": "t"}).api_key == "t"


@pytest.mark.parametrize("blank", [None, ""])
def test_blank_parameter_is_absent(deployment, blank):
    found = deployment(model="openai/gpt-4o", api_key=blank, api_base=blank, environment=OPENAI_KEY)
    assert (found.api_key, found.base) == ("sk-openai", "https://api.openai.com/v1")


def test_engine_deployment_requires_its_providers_key_unless_it_has_its_own(deployment):
    assert deployment(model="anthropic/claude-sonnet-4-6").off == ("ANTHROPIC_API_KEY",)
    assert deployment(model="anthropic/claude-sonnet-4-6", api_key="sk").off == ()
    assert deployment(model="vertex_ai/g", vertex_credentials="/key.json").off == ()
    assert deployment(model="bedrock/x").off == ()


def test_keyless_server_requires_no_key_but_uses_an_optional_one(deployment):
    assert deployment(model="ollama/llama3").needs == ()
    keyed = deployment(
        model="hosted_vllm/x", api_base="http://gpu:8000/v1", environment={"HOSTED_VLLM_API_KEY": "secret"}
    )
    assert (keyed.api_key, keyed.needs) == ("secret", ())


# Addresses


def test_api_base_replaces_the_default_address(deployment):
    found = deployment(model="openai/llama3", api_base="http://10.0.0.5:8000/v1/", api_key="sk")
    assert found.base == "http://10.0.0.5:8000/v1"
    assert deployment(model="openai/llama3", base_url="http://10.0.0.5/v1", api_key="sk").base == "http://10.0.0.5/v1"


def test_api_base_may_come_from_the_providers_variable(deployment):
    environment = {"OPENAI_BASE_URL": "https://proxy.example/v1", **OPENAI_KEY}
    found = deployment(model="openai/gpt-4o", environment=environment)
    assert (found.base, found.api_key) == ("https://proxy.example/v1", "sk-openai")


def test_provider_without_a_default_address_requires_its_base_variable(deployment):
    assert deployment(model="azure/x").off == ("AZURE_API_BASE", "AZURE_API_KEY")
    assert deployment(model="hosted_vllm/x").off == ("HOSTED_VLLM_API_BASE",)


def test_provider_without_an_address_or_variable_requires_api_base(warned):
    [said] = warned({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai_like/x"}}]})
    assert "litellm_params.api_base: warning: is missing; the model is left out" in said


def test_default_key_is_not_sent_to_a_custom_address(load_config):
    params = {"model": "openai/llama3", "api_base": "http://somewhere.example/v1"}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]}, OPENAI_KEY)
    assert config.deployments[0].api_key is None
    assert config.deployments[0].off == ()
    [warning] = [str(p) for p in config.problems]
    assert "warning" in warning
    assert "OPENAI_API_KEY is not sent there" in warning


def test_default_key_is_sent_to_the_providers_explicit_address(deployment):
    found = deployment(model="openai/gpt-4o", api_base="https://api.openai.com/v1", environment=OPENAI_KEY)
    assert found.api_key == "sk-openai"


@pytest.mark.parametrize(
    "lookalike", ["https://api.openai.com.evil.example/v1", "https://api.openai.com@evil.example/v1"]
)
def test_default_key_is_not_sent_to_a_lookalike_address(deployment, lookalike):
    assert deployment(model="openai/x", api_base=lookalike, environment=OPENAI_KEY).api_key is None


def test_ollama_path_is_below_v1(deployment):
    assert deployment(model="ollama/llama3").base == "http://localhost:11434/v1"
    assert deployment(model="ollama/llama3", api_base="http://gpu:11434").base == "http://gpu:11434/v1"
    assert deployment(model="ollama/llama3", api_base="http://gpu:11434/v1").base == "http://gpu:11434/v1"


def test_model_with_an_invalid_base_is_left_out(warned):
    params = {"model": "openai/x", "api_key": "sk", "api_base": "ftp://x"}
    said = warned({"model_list": [{"model_name": "m", "litellm_params": params}]})[-1]
    assert "api_base: warning: is not an http(s) address" in said
    assert "ftp" not in said


def test_azure_version_has_a_default_and_can_come_from_the_environment(deployment):
    here = {"api_base": "https://me.example", "api_key": "k"}
    assert deployment(model="azure/x", **here).api_version == "2024-10-21"
    found = deployment(model="azure/x", **here, environment={"AZURE_API_VERSION": "2025-03-01"})
    assert found.api_version == "2025-03-01"
