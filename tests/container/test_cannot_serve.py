"""Which new configuration is not taken, because a fault in it would take a model away from clients."""

import pytest

from container.proxy.startup_checks import reasons_to_keep

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
def test_a_model_that_runs_is_not_lost_to_a_fault(reasons, fault, said):
    [reason] = reasons([entry("a"), entry("b")], [entry("a", **fault), entry("b")])
    assert "'a'" in reason
    assert said in reason


def test_nor_is_one_of_its_deployments(reasons):
    [reason] = reasons([entry("a"), entry("a")], [entry("a"), entry("a", timeout="soon")])
    assert "'a'" in reason


def test_every_such_model_is_named(reasons):
    assert len(reasons([entry("a"), entry("b")], [entry("a", rpm="x"), entry("b", rpm="x"), entry("c")])) == 2


@pytest.mark.parametrize("models", [[], None])
def test_a_config_without_a_model_takes_none_away(reasons, models):
    assert reasons([entry("a")], models)


def test_a_model_that_is_not_named_any_more_is_removed(reasons):
    assert reasons([entry("a"), entry("b")], [entry("b")]) == []


def test_a_new_model_with_a_fault_takes_nothing_away(reasons):
    assert reasons([entry("a")], [entry("a"), entry("b", timeout="soon")]) == []


def test_what_was_left_out_already_holds_up_nothing(reasons):
    broken = entry("a", timeout="soon")
    assert reasons([entry("a"), broken], [entry("a"), broken, entry("b")]) == []


def test_a_model_that_was_off_may_stay_off(reasons):
    off = entry("a", api_key="os.environ/UNSET")
    assert reasons([off, entry("b")], [off, entry("b"), entry("c")]) == []
    assert reasons([off, entry("b")], [entry("a", timeout="soon"), entry("b")]) == []


def test_a_gateway_without_models_takes_any_config(reasons):
    assert reasons([], []) == []
