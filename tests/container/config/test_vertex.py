"""Vertex AI's project, region and credentials, and the addresses that may receive them."""

import json
from pathlib import Path

import pytest

KEY = json.dumps({"type": "service_account", "project_id": "p"})
ENVIRONMENT = {"GOOGLE_APPLICATION_CREDENTIALS": KEY}
GEMINI = "vertex_ai/gemini-2.5-pro"


def test_settings_from_the_environment(deployment):
    found = deployment(model=GEMINI, environment={**ENVIRONMENT, "VERTEXAI_PROJECT": "team", "VERTEXAI_LOCATION": "eu"})
    assert (found.kind, found.base, found.needs, found.off) == (
        "direct",
        "",
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        (),
    )
    assert (found.vertex.credentials, found.vertex.project, found.vertex.location) == (KEY, "team", "eu")


def test_config_overrides_the_environment(deployment):
    found = deployment(
        model=GEMINI,
        vertex_project="mine",
        vertex_ai_location="global",
        vertex_credentials="os.environ/OTHER_KEY",
        environment={**ENVIRONMENT, "OTHER_KEY": '{"type": "authorized_user"}', "VERTEXAI_PROJECT": "team"},
    )
    assert (found.vertex.project, found.vertex.location) == ("mine", "global")
    assert found.vertex.credentials == '{"type": "authorized_user"}'
    assert found.needs == ("OTHER_KEY",)


def test_credentials_may_be_in_the_file(deployment):
    found = deployment(model=GEMINI, vertex_credentials={"type": "service_account", "project_id": "p"})
    assert json.loads(found.vertex.credentials) == {"type": "service_account", "project_id": "p"}
    assert found.off == ()


def test_deployment_without_credentials_is_off(deployment):
    assert deployment(model=GEMINI).off == ("GOOGLE_APPLICATION_CREDENTIALS",)


def test_credentials_are_not_in_the_repr(deployment):
    assert "service_account" not in repr(deployment(model=GEMINI, vertex_credentials=KEY))


@pytest.mark.parametrize("base", ["https://evil.example", "https://aiplatform.googleapis.com.evil.example/v1"])
def test_default_credentials_are_not_sent_to_a_custom_address(load_config, base):
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, "api_base": base}}]}, ENVIRONMENT
    )
    assert config.deployments[0].vertex.credentials == ""
    assert any("GOOGLE_APPLICATION_CREDENTIALS" in str(problem) for problem in config.problems)


def test_default_credentials_are_sent_to_google_and_to_the_environments_address(deployment):
    google = deployment(
        model=GEMINI, api_base="https://europe-west4-aiplatform.googleapis.com/v1", environment=ENVIRONMENT
    )
    proxy = deployment(model=GEMINI, environment={**ENVIRONMENT, "VERTEXAI_API_BASE": "http://localhost:1/v1/"})
    assert google.vertex.credentials == proxy.vertex.credentials == KEY
    assert proxy.base == "http://localhost:1/v1"


@pytest.mark.parametrize("params", [{"vertex_location": "evil.example/"}, {"vertex_project": "a/../b"}])
def test_values_used_in_the_url_are_validated(warned, params):
    [line] = warned({"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, **params}}]}, ENVIRONMENT)
    assert next(iter(params)) in line
    assert "left out" in line


@pytest.mark.parametrize("given", ["{", "{}", "/nowhere/key.json"])
@pytest.mark.parametrize("place", ["config", "environment"])
def test_invalid_credentials_are_reported_once_at_startup(load_config, given, place):
    own = {"vertex_credentials": given} if place == "config" else {}
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, **own}}]},
        {"GOOGLE_APPLICATION_CREDENTIALS": given} if place == "environment" else {},
    )
    [problem] = config.problems
    assert "credentials" in str(problem).lower()
    assert problem.level == "warning"


def test_credentials_file_is_read(load_config, tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text(KEY)
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI}}]},
        {"GOOGLE_APPLICATION_CREDENTIALS": str(file)},
    )
    assert config.problems == ()


def test_typo_does_not_require_the_engine(complaints):
    params = {"model": GEMINI, "vertex_locatoin": "eu"}
    [line] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]}, ENVIRONMENT)
    assert "vertex_location" in line
