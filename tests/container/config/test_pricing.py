"""Prices and limits of a deployment, also where YAML parses them as text."""

import pytest

from container.accounting.reservation import PriceBook
from container.config.deployment import blended, price_entry, price_map
from container.config.load import load
from container.routing.router import Router, RouteRequest
from worker.core.pricing.prices import price


def priced(config):
    """Femtodollars per input token and per output token, from the price used for charging."""
    price_book = PriceBook(config, Router(config), default_max_output=1)
    [found] = [price for _, price in price_book.reach(RouteRequest("m")).plain]
    return found and (found["input"], found["output"])


@pytest.mark.parametrize("place", ["litellm_params", "model_info"])
@pytest.mark.parametrize("written", ["3e-06", "'0.000003'", "3.0e-6", "os.environ/PRICE", "' 3e-6 '"])
def test_price_may_be_written_in_any_numeric_form(tmp_path, place, written):
    params, info = "", ""
    line = f"input_cost_per_token: {written}, output_cost_per_token: {written}"
    if place == "litellm_params":
        params = f", {line}"
    else:
        info = f"\n    model_info: {{{line}}}"
    path = tmp_path / "config.yaml"
    model = f"  - model_name: m\n    litellm_params: {{model: openai/unknown-to-all, api_key: k{params}}}{info}\n"
    path.write_text(f"model_list:\n{model}")
    config = load(path, {"PRICE": "3e-06"})
    assert priced(config) == (3_000_000_000, 3_000_000_000)
    assert config.deployments[0].kind == "direct"


def test_zero_price_stays_zero(deployment):
    found = deployment(
        model="openai/x", api_key="k", info={"input_cost_per_token": "0", "output_cost_per_token": "0.0"}
    )
    assert (found.info["input_cost_per_token"], found.info["output_cost_per_token"]) == (0, 0)


def test_quoted_limit_is_a_number(deployment):
    info = {"max_input_tokens": "8192", "max_output_tokens": "1024", "input_cost_per_token": 1, "mode": "chat"}
    found = deployment(model="openai/x", api_key="k", info={**info, "output_cost_per_token": 1}).info
    assert (found["max_input_tokens"], found["max_output_tokens"], found["mode"]) == (8192, 1024, "chat")
    assert price(found)["max_output"] == 1024


@pytest.mark.parametrize(
    "name", ["cache_read_input_token_cost", "input_cost_per_second", "output_cost_per_image", "input_cost_per_query"]
)
def test_every_price_may_be_in_litellm_params(load_config, name):
    params = {"model": "openai/unknown-to-all", "api_key": "k", "input_cost_per_token": 0, "output_cost_per_token": 0}
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": {**params, name: "1e-3"}}]})
    price_book = PriceBook(config, Router(config), default_max_output=1)
    [(_, found)] = price_book.reach(RouteRequest("m")).plain
    assert 10**12 in found.values()
    assert config.deployments[0].kind == "direct"


@pytest.mark.parametrize("written", ["free", "3,5", "1e999", "nan", ""])
def test_model_with_an_unreadable_price_is_left_out(load_config, written):
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [{**entry, "model_info": {"input_cost_per_token": written}}]})
    assert config.groups == {}
    assert any("input_cost_per_token: warning: is no number" in str(p) for p in config.problems)


def test_price_from_an_unset_variable_turns_the_model_off(deployment):
    assert deployment(model="openai/x", api_key="k", input_cost_per_token="os.environ/PRICE").off == ("PRICE",)


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
