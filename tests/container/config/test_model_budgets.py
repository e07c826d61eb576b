"""Limits of providers and of models in the file."""

from typing import Any

import pytest

from container.config.document import ConfigError
from worker.core.ledger.accounts import Limits

MODEL = {"model_name": "gpt", "litellm_params": {"model": "openai/x", "api_key": "k"}}
EVERY = {
    "budget_limit": 10,
    "time_period": "1d",
    "soft_budget": 8,
    "rpm_limit": 1,
    "tpm_limit": 2,
    "max_parallel_requests": 3,
}


def written(value: Any, section: str = "model_max_budget", **routing: Any) -> dict[str, Any]:
    return {"model_list": [MODEL], "router_settings": {section: value, **routing}}


@pytest.mark.parametrize(
    ("section", "account"), [("model_max_budget", "model:gpt"), ("provider_budget_config", "provider:openai")]
)
def test_each_has_every_limit(load_config, section: str, account: str):
    config = load_config(written({account.partition(":")[2]: EVERY}, section))
    assert config.options.policy.accounts == {account: Limits(10 * 10**9, 8 * 10**9, "1d", 1, 2, 3)}
    assert not [p for p in config.problems if p.level == "warning"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"gtp": {"budget_limit": 1}}, "gtp"),
        ({"alias": {"budget_limit": 1}}, "alias"),
        ({"gpt": {"budget": 1}}, "has to be a mapping of"),
        ({"gpt": 1}, "has to be a mapping of"),
        (["gpt"], "has to be a mapping of models"),
        ({"gpt": {"rpm_limit": 1.5}}, "whole number"),
        ({"gpt": {"max_parallel_requests": True}}, "whole number"),
        ({"gpt": {"budget_limit": "much"}}, "US dollars"),
    ],
)
def test_limits_that_would_not_hold_stop_the_start(load_config, value: Any, said: str):
    with pytest.raises(ConfigError, match=said):
        load_config(written(value, model_group_alias={"alias": "gpt"}))


def test_a_period_without_a_budget_is_a_warning(load_config):
    config = load_config(written({"gpt": {"rpm_limit": 1, "time_period": "1d"}}))
    assert any("has no effect" in p.message for p in config.problems)
