"""What Gemini's models have in common and what sets them apart, told by their names.

How much a model shall think: `reasoning_effort` and Anthropic's `thinking` as `thinkingConfig`.

Models before Gemini 3 have a budget of tokens, later ones have levels. The numbers are LiteLLM's.
Source: https://ai.google.dev/gemini-api/docs/thinking
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

_BEFORE_3 = re.compile(r"gemini-(?:[12](?:\.\d+)?|exp|(?:pro|flash)(?!-(?:lite-)?latest$))(?:-|$)")


class Traits(NamedTuple):
    """`system`: takes system instructions; `call_ids`: knows calls by ids; `signs_calls`: wants a thought signature on
    the first call of a turn; `levels`: thinks on levels, not within a budget of tokens; `penalties`: takes them;
    `resolution_of_parts`: each picture may have its own."""

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
    # A tuned model is a number; what it was tuned from is not known.
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
# The least that a model can be told to think.
_LEAST = (("gemini-2.5-flash-lite", 512), ("gemini-2.5-pro", 128), ("gemini-2.5-flash", 1))
_LEAST_OF_OTHERS = 128
_NOT_AT_ALL = ("none", "disable")
# Levels that others have beyond the highest here.
_HIGHER = ("xhigh", "max")


def from_effort(effort: Any, traits: Traits) -> dict[str, Any] | None:
    """None for an effort that is not known."""
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
    """`{"type": "enabled", "budget_tokens": n}`; on levels a budget says only whether to think."""
    enabled, budget = thinking.get("type") == "enabled", thinking.get("budget_tokens")
    if traits.levels:
        return {"includeThoughts": enabled and budget != 0}
    found: dict[str, Any] = {"includeThoughts": True} if enabled and budget != 0 else {}
    if isinstance(budget, int):
        found["thinkingBudget"] = budget
    return found


def _least_level(traits: Traits) -> str:
    return "minimal" if "flash" in traits.name else "low"
