"""Entries of `model_list` that stop the start: each mistake names its line and key, and says how to mend it."""

import pytest

from container.config import ConfigError


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


def test_an_unknown_provider_is_refused_with_an_example(complaints):
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": {"model": "nonesuch/x"}}]})
    assert said.startswith("config.yaml:4: model_list[0].litellm_params.model: error: 'nonesuch/x'")
    assert "openai/gpt-4o" in said


def test_an_unknown_custom_provider_is_refused(complaints):
    params = {"model": "x", "custom_llm_provider": "nonesuch"}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "litellm_params.custom_llm_provider" in said
    assert "'nonesuch'" in said


@pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x\n-a": "1"}])
def test_a_header_with_a_line_break_is_refused(complaints, headers):
    params = {"model": "openai/x", "api_key": "k", "extra_headers": headers}
    said = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "holds a line break" in "".join(said)


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


def test_two_deployments_with_one_id_are_refused(complaints):
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": {"id": "one"}}
    [said] = complaints({"model_list": [entry, entry]})
    assert "model_list[1].model_info.id: error: 'one' stands twice" in said


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


@pytest.mark.parametrize("key", ["$KEY", "${KEY}", "os.environ.KEY", "os.env/KEY", "env:KEY", "%KEY%"])
def test_a_reference_in_another_programs_spelling_is_not_taken_for_a_key(complaints, key):
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": key}}]})
    assert "Write `os.environ/NAME`." in said
