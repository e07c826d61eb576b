"""Differences between Gemini models, derived from their names, and their reasoning settings.

`reasoning_effort` and Anthropic's `thinking` become `thinkingConfig`. Models before Gemini 3 have a token budget, later
ones have levels. The budgets are LiteLLM's. https://ai.google.dev/gemini-api/docs/thinking
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

_BEFORE_3 = re.compile(r"gemini-(?:[12](?:\.\d+)?|exp|(?:pro|flash)(?!-(?:lite-)?latest$))(?:-|$)")


class Traits(NamedTuple):
    """The features of a model.

    `system`: accepts system instructions. `call_ids`: calls have ids. `signs_calls`: requires a thought signature on
    the first call of a turn. `levels`: reasoning is set by level, not by a token budget. `penalties`: accepts
    penalties. `resolution_of_parts`: each image may have its own resolution.
    """

    name: str
    vertex: bool
    system: bool
    call_ids: bool
    signs_calls: bool
    levels: bool
    penalties: bool
    resolution_of_parts: bool


@lru_cache(maxsize=1024)
def traits(model: str, *, vertex: bool) -> Traits:
    name = model.rpartition("/")[2].lower()
    # The name of a tuned model is a number, which does not reveal the base model.
    new = name.startswith("gemini-") and not _BEFORE_3.match(name)
    return Traits(
        name=name,
        vertex=vertex,
        system=not name.startswith("gemma"),
        call_ids=new,
        signs_calls=new,
        levels=new,
        penalties=not new,
        resolution_of_parts=new,
    )


_BUDGETS = {"low": 1024, "medium": 2048, "high": 4096}
# The smallest accepted reasoning budgets.
_LEAST = (("gemini-2.5-flash-lite", 512), ("gemini-2.5-pro", 128), ("gemini-2.5-flash", 1))
_LEAST_OF_OTHERS = 128
_NOT_AT_ALL = ("none", "disable")
# Levels of other providers above the highest one here.
_HIGHER = ("xhigh", "max")


def from_effort(effort: Any, traits: Traits) -> dict[str, Any] | None:
    """The `thinkingConfig` for an effort, or None if the effort is unknown."""
    if effort in _NOT_AT_ALL:
        if traits.levels:
            return {"thinkingLevel": _least_level(traits), "includeThoughts": False}
        return {"thinkingBudget": 0, "includeThoughts": False}
    if effort == "minimal":
        if traits.levels:
            return {"thinkingLevel": _least_level(traits), "includeThoughts": True}
        least = next((budget for part, budget in _LEAST if part in traits.name), _LEAST_OF_OTHERS)
        return {"thinkingBudget": least, "includeThoughts": True}
    if effort in _HIGHER:
        effort = "high"
    if effort not in _BUDGETS:
        return None
    if traits.levels:
        return {"thinkingLevel": effort, "includeThoughts": True}
    return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": True}


def from_anthropic(thinking: dict[str, Any], traits: Traits) -> dict[str, Any]:
    """The `thinkingConfig` for `{"type": "enabled", "budget_tokens": n}`. With levels, it only turns reasoning on or
    off.
    """
    enabled, budget = thinking.get("type") == "enabled", thinking.get("budget_tokens")
    if traits.levels:
        return {"includeThoughts": enabled and budget != 0}
    found: dict[str, Any] = {"includeThoughts": True} if enabled and budget != 0 else {}
    if isinstance(budget, int):
        found["thinkingBudget"] = budget
    return found


def _least_level(traits: Traits) -> str:
    return "minimal" if "flash" in traits.name else "low"
