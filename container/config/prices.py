"""What a deployment's tokens cost: by its `model_info`, else by LiteLLM's price map."""

from collections.abc import Iterable, Mapping
from typing import Any

from .deployment import Deployment
from .price_map import price_map
from .pricing import is_price


def entry(d: Deployment, prices: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Everything known of the deployment's model: the map's entry, what the config says on top."""
    found: Mapping[str, Any] = {}
    for name in (d.info.get("base_model"), f"{d.provider}/{d.model}", d.model):
        if isinstance(name, str) and name in prices:
            found = prices[name]
            break
    own = {k: v for k, v in d.params.items() if is_price(k)}
    return {**found, **own, **d.info}


def blended(deployments: Iterable[Deployment]) -> dict[str, float]:
    """USD for a token in and a token out, by deployment id; those without a price are missing."""
    prices, result = price_map(), {}
    for d in deployments:
        known = entry(d, prices)
        ins, outs = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        if isinstance(ins, (int, float)) and isinstance(outs, (int, float)):
            result[d.id] = float(ins) + float(outs)
    return result
