"""Vertex AI's settings: project, region, credentials, and where those may go."""

import json
from pathlib import Path

import pytest

KEY = json.dumps({"type": "service_account", "project_id": "p"})
ENVIRONMENT = {"GOOGLE_APPLICATION_CREDENTIALS": KEY}
GEMINI = "vertex_ai/gemini-2.5-pro"


def test_the_environment_says_it_all(deployment):
    found = deployment(model=GEMINI, environment={**ENVIRONMENT, "VERTEXAI_PROJECT": "team", "VERTEXAI_LOCATION": "eu"})
    assert (found.kind, found.base, found.needs, found.off) == (
        "direct",
        "",
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        (),
    )
    assert (found.vertex.credentials, found.vertex.project, found.vertex.location) == (KEY, "team", "eu")


def test_the_config_goes_before_the_environment(deployment):
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


def test_a_key_may_stand_in_the_file(deployment):
    found = deployment(model=GEMINI, vertex_credentials={"type": "service_account", "project_id": "p"})
    assert json.loads(found.vertex.credentials) == {"type": "service_account", "project_id": "p"}
    assert found.off == ()


def test_without_credentials_it_is_off(deployment):
    assert deployment(model=GEMINI).off == ("GOOGLE_APPLICATION_CREDENTIALS",)


def test_credentials_are_not_shown(deployment):
    assert "service_account" not in repr(deployment(model=GEMINI, vertex_credentials=KEY))


@pytest.mark.parametrize("base", ["https://evil.example", "https://aiplatform.googleapis.com.evil.example/v1"])
def test_default_credentials_go_to_no_strangers(load_config, base):
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, "api_base": base}}]}, ENVIRONMENT
    )
    assert config.deployments[0].vertex.credentials == ""
    assert any("GOOGLE_APPLICATION_CREDENTIALS" in str(problem) for problem in config.problems)


def test_they_go_to_google_and_to_an_address_that_the_environment_names(deployment):
    google = deployment(
        model=GEMINI, api_base="https://europe-west4-aiplatform.googleapis.com/v1", environment=ENVIRONMENT
    )
    proxy = deployment(model=GEMINI, environment={**ENVIRONMENT, "VERTEXAI_API_BASE": "http://localhost:1/v1/"})
    assert google.vertex.credentials == proxy.vertex.credentials == KEY
    assert proxy.base == "http://localhost:1/v1"


@pytest.mark.parametrize("params", [{"vertex_location": "evil.example/"}, {"vertex_project": "a/../b"}])
def test_what_becomes_part_of_an_address_is_looked_at(warned, params):
    [line] = warned({"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, **params}}]}, ENVIRONMENT)
    assert next(iter(params)) in line
    assert "left out" in line


@pytest.mark.parametrize("given", ["{", "{}", "/nowhere/key.json"])
@pytest.mark.parametrize("place", ["config", "environment"])
def test_credentials_that_are_none_are_named_once_at_the_start(load_config, given, place):
    own = {"vertex_credentials": given} if place == "config" else {}
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI, **own}}]},
        {"GOOGLE_APPLICATION_CREDENTIALS": given} if place == "environment" else {},
    )
    [problem] = config.problems
    assert "credentials" in str(problem).lower()
    assert problem.level == "warning"


def test_a_file_that_is_there(load_config, tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text(KEY)
    config = load_config(
        {"model_list": [{"model_name": "m", "litellm_params": {"model": GEMINI}}]},
        {"GOOGLE_APPLICATION_CREDENTIALS": str(file)},
    )
    assert config.problems == ()


def test_a_slip_of_the_pen_is_no_engine(complaints):
    params = {"model": GEMINI, "vertex_locatoin": "eu"}
    [line] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]}, ENVIRONMENT)
    assert "vertex_location" in line
