"""Unusable entries of `model_list`: each error names its line, its key and a remedy. Entries that LiteLLM accepts are
left out, and the other models are served."""

import pytest


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
        ({"model_name": "m", "litellm_params": {"model": "openai/x"}, "model_info": [1]}, "model_list[0].model_info"),
    ],
)
def test_invalid_entry_is_reported_with_line_and_key(complaints, entry, key):
    [said] = complaints({"model_list": [entry]})
    place, _, _ = said.partition(": error: ")
    file, line, named = place.split(":")
    assert (file, named.strip()) == ("config.yaml", key)
    assert int(line) >= 2


def test_name_parsed_as_another_type_should_be_quoted(complaints):
    [said] = complaints({"model_list": [{"model_name": False, "litellm_params": {"model": "openai/x"}}]})
    assert said.endswith("model_list[0].model_name: error: is no text: YAML reads it as False. Put the name in quotes.")


GOOD = {"model_name": "good", "litellm_params": {"model": "openai/x", "api_key": "k"}}


@pytest.fixture
def left_out(load_config):
    """The warning for a model with these litellm_params beside a valid model."""

    def said(**params) -> str:
        config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}, GOOD]})
        assert list(config.groups) == ["good"]
        [warning] = [str(p) for p in config.problems if p.level == "warning"]
        assert "left out" in warning
        return warning

    return said


def test_unknown_provider_is_left_out_with_a_suggestion(left_out):
    said = left_out(model="nonesuch/x")
    assert said.startswith("config.yaml:4: model_list[0].litellm_params.model: warning: 'nonesuch/x'")
    assert "openai/gpt-4o" in said


@pytest.mark.parametrize("provider", ["nonesuch", 5])
def test_unknown_custom_provider_is_left_out(left_out, provider):
    assert "litellm_params.custom_llm_provider" in left_out(model="x", custom_llm_provider=provider)


def test_model_named_by_an_unset_variable_is_left_out(load_config):
    unnamed = {"model_name": "os.environ/NAME", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [unnamed, GOOD]})
    assert list(config.groups) == ["good"]
    assert list(config.left_out) == ["os.environ/NAME"]
    assert "NAME is not set" in str(config.problems[0])


def test_left_out_model_is_remembered_by_name(load_config):
    params = {"model": "openai/x", "api_key": "k"}
    wrong = [{"model_name": "bad", "litellm_params": {**params, "rpm": "few"}}] * 2
    config = load_config({"model_list": [*wrong, {"model_name": "good", "litellm_params": params}]})
    assert [(name, len(problems)) for name, problems in config.left_out.items()] == [("bad", 2)]


@pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x\n-a": "1"}])
def test_header_with_a_line_break_is_rejected(left_out, headers):
    assert "line break" in left_out(model="openai/x", api_key="k", extra_headers=headers)


@pytest.mark.parametrize("name", ["extra_headers", "extra_body"])
def test_values_that_must_be_mappings_are_checked(left_out, name):
    assert f"litellm_params.{name}" in left_out(model="openai/x", api_key="k", **{name: "x"})


def test_unknown_model_setting_has_no_effect(warned):
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}, "rpm": 1, "mine": {}}
    said = warned({"model_list": [entry]})
    assert [line.partition(": warning: ")[0].rpartition(".")[2] for line in said] == ["mine", "rpm"]
    assert "litellm_params" in said[1]


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
def test_invalid_limit_is_reported_with_its_key(left_out, name, value):
    assert f"model_list[0].litellm_params.{name}: warning: has to be a" in left_out(
        model="openai/x", api_key="k", **{name: value}
    )


@pytest.mark.parametrize("name", ["api_key", "api_base", "api_version", "organization"])
def test_text_parameter_rejects_other_types(warned, name):
    params = {"model": "azure/x", "api_key": "k", "api_base": "https://x", name: 5}
    said = warned({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert [line for line in said if f"litellm_params.{name}: warning: has to be text" in line]


def test_duplicate_ids_become_unique(load_config):
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": {"id": "one"}}
    config = load_config({"model_list": [entry, entry, entry]})
    assert [d.id for d in config.deployments] == ["one", "one-2", "one-3"]
    assert "'one' stands twice" in str(config.problems[0])


def test_error_never_quotes_a_secret(load_config):
    params = {"model": "openai/x", "api_key": ["sk-secret"]}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert "sk-secret" not in "".join(map(str, config.problems))


def test_harmless_typo_gets_a_suggestion(load_config):
    params = {"model": "openai/x", "api_key": "k", "temprature": 1}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert [d.kind for d in config.deployments] == ["engine"]
    assert "`temperature`" in str(config.problems[0])


@pytest.mark.parametrize(("slip", "meant"), [("api_bas", "api_base"), ("max_token", "max_tokens")])
def test_typo_that_would_misdirect_keys_stops_the_start(complaints, slip, meant):
    params = {"model": "openai/x", "api_key": "k", slip: "1"}
    [said] = complaints({"model_list": [{"model_name": "m", "litellm_params": params}]})
    assert f"{slip}: error: is not known. Did you mean `{meant}`?" in said


@pytest.mark.parametrize("key", ["$KEY", "${KEY}", "os.environ.KEY", "os.env/KEY", "env:KEY", "%KEY%"])
def test_reference_in_another_syntax_is_not_used_as_a_key(left_out, key):
    assert "Write `os.environ/NAME`." in left_out(model="openai/x", api_key=key)
