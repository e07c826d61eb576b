"""Parses prices and limits, and reads LiteLLM's price map."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from .document import REFERENCE, Document, KeyPath
from .providers import ENGINE_PROVIDERS

# `input_cost_per_token`, `cache_read_input_token_cost_above_200k_tokens`, `cost_per_second`, …
# (`litellm.types.utils.CustomPricingLiteLLMParams`)
_PRICE = re.compile(r"(?:^|_)cost(?:_|$)|^output_vector_size$|^tiered_pricing$|^regional_.*_multiplier(?:_|$)")
_LIMIT = re.compile(r"max_(?:input_|output_|image_)?tokens|max_tokens_per_\w+")


def is_price(name: str) -> bool:
    """Whether the litellm_params name is a price."""
    return _PRICE.search(name) is not None


def read(
    document: Document, path: KeyPath, values: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """Converts the prices and limits in `values` to numbers.

    Returns None and reports a problem if one is not a number. The model is then left out, as in LiteLLM, because its
    cost would be unknown.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, str) or not (is_price(name) or (path[-1] == "model_info" and _LIMIT.fullmatch(name))):
            found[name] = value
            continue
        text = environment.get(value[len(REFERENCE) :], "") if value.startswith(REFERENCE) else value
        if not text and value.startswith(REFERENCE):  # an unset variable turns the deployment off
            found[name] = value
            continue
        number = _number(text)
        if number is None:
            message = f"is no number: {value!r}; the model is left out."
            document.report("warning", (*path, name), message, "For example: 0.000003 or 3.0e-6.")
            return None
        found[name] = number
    return found


def _number(text: str) -> int | float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and number > 1 else number


# A copy of LiteLLM's, written by dev/litellm_prices.py. LiteLLM itself may not be installed.
MAP_FILE = Path(__file__).with_name("litellm_prices.json")


def price_map() -> Mapping[str, Mapping[str, Any]]:
    """LiteLLM's map of model names to prices and limits. It takes several megabytes, so do not keep it."""
    return orjson.loads(MAP_FILE.read_bytes())


def provider_of(model: str) -> str | None:
    """The engine provider of a model name without a provider prefix, from the price map. `amazon.titan-embed-text-v1`
    belongs to Bedrock.
    """
    found = price_map().get(model, {}).get("litellm_provider")
    if not isinstance(found, str):
        return None
    named = (found, found.partition("-")[0], found.removesuffix("_converse"))
    return next((name for name in named if name in ENGINE_PROVIDERS), None)
