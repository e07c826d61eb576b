"""A new config is not applied if an error in it would remove a model that clients use."""

import pytest

from container.proxy.startup import reasons_to_keep

KEY = {"KEY": "sk-provider"}


def entry(name: str, **params) -> dict:
    return {"model_name": name, "litellm_params": {"model": "openai/x", "api_key": "k", **params}}


@pytest.fixture
def reasons(load_config):
    def found(running: list, new: list, environment=KEY) -> list[str]:
        return reasons_to_keep(*(load_config({"model_list": models}, environment) for models in (running, new)))

    return found


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"model": "nonesuch/x"}, "litellm_params.model"),
        ({"api_base": "localhost:8000"}, "api_base"),
        ({"custom_llm_provider": "opnai"}, "custom_llm_provider"),
        ({"timeout": "soon"}, "timeout"),
        ({"input_cost_per_token": "cheap"}, "input_cost_per_token"),
        ({"api_key": "$KEY"}, "api_key"),
        ({"extra_headers": ["x"]}, "extra_headers"),
        ({"api_key": "os.environ/MISSPELT_KEY"}, "MISSPELT_KEY"),
    ],
)
def test_error_in_a_served_model_blocks_the_config(reasons, fault, said):
    [reason] = reasons([entry("a"), entry("b")], [entry("a", **fault), entry("b")])
    assert "'a'" in reason
    assert said in reason


def test_error_in_one_deployment_of_a_served_model_blocks_the_config(reasons):
    [reason] = reasons([entry("a"), entry("a")], [entry("a"), entry("a", timeout="soon")])
    assert "'a'" in reason


def test_every_affected_model_is_reported(reasons):
    assert len(reasons([entry("a"), entry("b")], [entry("a", rpm="x"), entry("b", rpm="x"), entry("c")])) == 2


@pytest.mark.parametrize("models", [[], None])
def test_config_without_models_removes_none(reasons, models):
    assert reasons([entry("a")], models)


def test_model_absent_from_the_config_is_removed(reasons):
    assert reasons([entry("a"), entry("b")], [entry("b")]) == []


def test_error_in_a_new_model_does_not_block_the_config(reasons):
    assert reasons([entry("a")], [entry("a"), entry("b", timeout="soon")]) == []


def test_model_already_left_out_does_not_block_the_config(reasons):
    broken = entry("a", timeout="soon")
    assert reasons([entry("a"), broken], [entry("a"), broken, entry("b")]) == []


def test_disabled_model_may_stay_disabled(reasons):
    off = entry("a", api_key="os.environ/UNSET")
    assert reasons([off, entry("b")], [off, entry("b"), entry("c")]) == []
    assert reasons([off, entry("b")], [entry("a", timeout="soon"), entry("b")]) == []


def test_gateway_without_models_accepts_any_config(reasons):
    assert reasons([], []) == []
