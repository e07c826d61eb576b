"""What a deployment's tokens cost: by its `model_info`, else by LiteLLM's price map, read without importing it."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .engine_providers import ENGINE_PROVIDERS
from .pricing import is_price

if TYPE_CHECKING:
    from .deployment import Deployment

MAP_FILE = "model_prices_and_context_window_backup.json"


def price_map() -> Mapping[str, Mapping[str, Any]]:
    """LiteLLM's map of model names to prices and limits; some megabytes, so let go of it when done."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    return orjson.loads((Path(spec.submodule_search_locations[0]) / MAP_FILE).read_bytes())


def provider_of(model: str) -> str | None:
    """Whose a model is that names no provider, by LiteLLM's map: `amazon.titan-embed-text-v1` is Bedrock's."""
    found = price_map().get(model, {}).get("litellm_provider")
    if not isinstance(found, str):
        return None
    named = (found, found.partition("-")[0], found.removesuffix("_converse"))
    return next((name for name in named if name in ENGINE_PROVIDERS), None)


def entry(d: "Deployment", prices: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Everything known of the deployment's model: the map's entry, what the config says on top."""
    found: Mapping[str, Any] = {}
    for name in (d.info.get("base_model"), f"{d.provider}/{d.model}", d.model):
        if isinstance(name, str) and name in prices:
            found = prices[name]
            break
    own = {k: v for k, v in d.params.items() if is_price(k)}
    return {**found, **own, **d.info}


def blended(deployments: "Iterable[Deployment]") -> dict[str, float]:
    """USD for a token in and a token out, by deployment id; those without a price are missing."""
    prices, result = price_map(), {}
    for d in deployments:
        known = entry(d, prices)
        ins, outs = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        if isinstance(ins, (int, float)) and isinstance(outs, (int, float)):
            result[d.id] = float(ins) + float(outs)
    return result
