"""Estimates hidden reasoning: tokens that a model generates but does not show, known only from the final usage."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from worker.core.pricing.charge import ANY_LIMIT, Charge
from worker.core.pricing.estimate import Prompt
from worker.core.pricing.prices import Price
from worker.core.pricing.quote import UNKNOWN_MAX_OUTPUT, most

from ..config import output_limits
from ..formats.anthropic.models import traits
from ..routing.groups import Target

_ASKS = ("reasoning_effort", "thinking", "reasoning")
_OFF: tuple[Any, ...] = (None, False, "", "none", {}, {"type": "disabled"}, {"effort": "none"}, {"enabled": False})
_SIZES = (*ANY_LIMIT, "max_output_tokens", "n", "best_of", "prompt")
_KEPT = frozenset((*_ASKS, *_SIZES))
_CHARGE = Charge((*ANY_LIMIT, "max_output_tokens"))
_NOTHING = Prompt(0)
# Models that reason by default and show little or none of it.
_THINKERS = re.compile(
    r"(?:^|[/.:])(?:o[1-9](?:[-:@]|$)|gpt-(?:[5-9]|1\d)(?!\d|.*chat)|grok-(?:[4-9]|3-mini)(?!.*non-))"
)
_RESEARCH = "deep-research"


def kept(body: Mapping[str, Any], output_limit: int | None = None) -> dict[str, Any]:
    """Return the request fields that `output` needs, so that the body can be released.

    `output_limit`: the limit that is added if the request has none.
    """
    found = {name: body[name] for name in _KEPT & body.keys()}
    if output_limit is not None:
        found["max_tokens"] = output_limit
    return found


def output(fields: Mapping[str, Any], target: Target, price: Price | None) -> int | None:
    """Return the maximum output tokens, or None if nothing is hidden. `fields`: as returned by `kept`."""
    presets = target.deployment.presets
    asked = any(fields.get(name, presets.get(name)) not in _OFF for name in _ASKS)
    if not (asked or (price is not None and "reasoning" in price) or _thinks(target)):
        return None
    return most(output_limits.over(presets, fields), _NOTHING, [("", price)], _CHARGE, UNKNOWN_MAX_OUTPUT).tokens


def _thinks(target: Target) -> bool:
    info = target.deployment.info
    base = info.get("base_model")
    return bool(info.get("supports_reasoning")) or _known(base if isinstance(base, str) else target.model)


@functools.lru_cache(maxsize=1024)
def _known(model: str) -> bool:
    name = model.lower()
    return _RESEARCH in name or _THINKERS.search(name) is not None or traits(name).always_thinks
