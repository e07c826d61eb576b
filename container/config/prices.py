"""The price and the tokenizer of a model, from `model_info` or else from LiteLLM's price map."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from worker.core.pricing.estimate import CL100K, LARGEST, O200K

from .address import origin
from .deployment import Deployment
from .price_map import is_price, price_map
from .providers import DIRECT


def entry(d: Deployment, prices: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """All data about the deployment's model: the price map entry, overridden by the config."""
    found: Mapping[str, Any] = {}
    for name in (d.info.get("base_model"), f"{d.provider}/{d.model}", d.model):
        if isinstance(name, str) and name in prices:
            found = prices[name]
            break
    own = {k: v for k, v in d.params.items() if is_price(k)}
    return {**found, **own, **d.info}


def blended(deployments: Iterable[Deployment]) -> dict[str, float]:
    """Input plus output price per token in USD, by deployment id. Deployments without a price are omitted."""
    prices, result = price_map(), {}
    for d in deployments:
        known = entry(d, prices)
        ins, outs = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        if isinstance(ins, (int, float)) and isinstance(outs, (int, float)):
            result[d.id] = float(ins) + float(outs)
    return result


# Providers that use OpenAI's model names. Other providers are trusted if the model name starts with `openai/`.
_OPENAI = frozenset(("openai", "azure", "azure_ai", "azure_text", "text-completion-openai"))
# As in `tiktoken.model`. Models that tiktoken does not know yet (gpt-6) are unknown here too.
_NAMES = (
    (O200K, re.compile(r"(gpt-(4o|4\.1|4\.5|5(\.\d+)?)|chatgpt-4o|o1|o3|o4-mini)(?=[-:]|$)")),
    (CL100K, re.compile(r"gpt-(4|3\.5|35)(?=[-:]|$)|text-embedding-(ada-002|3-small|3-large)$")),
)
# Open weights, served under this name by many providers.
_OPEN = re.compile(r"gpt-oss\b")


def tokenizer(d: Deployment, model: str) -> str:
    """The tokenizer of a model, as a name in `core.pricing.estimate.WEIGHTS`. Unknown models get the largest.

    `model` is the provider's name for the model, with wildcards filled in. `base_model` in `model_info` takes
    precedence.
    """
    base = d.info.get("base_model")
    path, _, name = (base if isinstance(base, str) else f"{d.provider}/{model}").rpartition("/")
    vendors = frozenset(path.split("/"))
    name = name.removeprefix("openai.")
    if _OPEN.match(name):
        return O200K
    if not (vendors & _OPENAI or not path) or (not isinstance(base, str) and _elsewhere(d)):
        return LARGEST
    name = name.removeprefix("ft:")
    return next((known for known, names in _NAMES if names.match(name)), LARGEST)


def _elsewhere(d: Deployment) -> bool:
    """Whether the config sets an address other than OpenAI's, where `gpt-4` may be any model."""
    address = d.params.get("api_base") or d.params.get("base_url")
    return d.provider == "openai" and bool(address) and origin(str(address)) != origin(DIRECT["openai"].base)
