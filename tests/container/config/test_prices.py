"""Token prices of a deployment."""

import pytest

from container.config.deployment import blended, price_entry
from container.config.price_map import price_map

PRICES = {
    "gpt-4o": {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0, "max_tokens": 5},
    "azure/gpt-4o": {"input_cost_per_token": 3.0, "output_cost_per_token": 4.0},
}


@pytest.mark.parametrize(
    ("params", "info", "price"),
    [
        ({"model": "openai/gpt-4o"}, None, 1.0),
        ({"model": "azure/gpt-4o", "api_base": "https://x"}, None, 3.0),
        ({"model": "azure/mine", "api_base": "https://x"}, {"base_model": "azure/gpt-4o"}, 3.0),
        ({"model": "openai/gpt-4o", "input_cost_per_token": 9.0}, None, 9.0),
        ({"model": "openai/gpt-4o", "input_cost_per_token": 9.0}, {"input_cost_per_token": 0}, 0),
        ({"model": "openai/unknown"}, None, None),
        ({"model": "openai/unknown"}, {"input_cost_per_token": 7.0}, 7.0),
    ],
)
def test_config_price_overrides_the_map(deployment, params, info, price):
    found = price_entry(deployment(api_key="k", info=info, **params), PRICES)
    assert found.get("input_cost_per_token") == price


def test_missing_price_comes_from_the_map(deployment):
    found = price_entry(deployment(model="openai/gpt-4o", api_key="k", info={"input_cost_per_token": 0}), PRICES)
    assert (found["output_cost_per_token"], found["max_tokens"]) == (2.0, 5)


def test_price_requires_both_directions(load_config):
    def model(name: str, info: dict) -> dict:
        return {
            "model_name": name,
            "litellm_params": {"model": "openai/x-1", "api_key": "k"},
            "model_info": {**info, "id": name},
        }

    config = load_config(
        {
            "model_list": [
                model("both", {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}),
                model("free", {"input_cost_per_token": 0, "output_cost_per_token": 0}),
                model("half", {"input_cost_per_token": 1e-6}),
                model("none", {}),
            ]
        }
    )
    assert blended(config.deployments) == {"both": pytest.approx(3e-6), "free": 0.0}


def test_litellms_map_is_found():
    assert len(price_map()) > 1000
