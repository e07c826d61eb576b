"""LiteLLM's price map, read without importing LiteLLM."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from .engine_providers import ENGINE_PROVIDERS

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
