"""How much a model shall think, in the words that it knows: OpenAI's levels, Anthropic's budgets.

The thresholds are LiteLLM's.
"""

from collections.abc import Collection, Mapping
from typing import Any

ORDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS = ((4096, "high"), (2048, "medium"), (1024, "low"))


def nearest(asked: str, known: Collection[str] | None) -> str | None:
    """The level that the model knows, at least as strong as the one asked for, else its strongest. One that cannot be
    kept from thinking is to think as little as it can. None where it takes none of them; `known`: None for any."""
    if known is None or asked in known or asked not in ORDER:
        return asked
    ladder = [level for level in ORDER[1:] if level in known]
    if not ladder:
        return "default" if "default" in known else None
    if asked == "none":
        return ladder[0]
    rank = ORDER.index(asked)
    return next((level for level in ladder if ORDER.index(level) >= rank), ladder[-1])


def of_budget(tokens: Any) -> str:
    """The level that a budget of thoughts comes to."""
    size = tokens if isinstance(tokens, int) else 0
    return next((level for least, level in _BUDGETS if size >= least), "minimal")


def of_thinking(thinking: Any, output_config: Any = None) -> str | None:
    """The level that Anthropic's `thinking` and `output_config.effort` ask for; None where they ask for nothing."""
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind == "disabled":
        return "none"
    effort = output_config.get("effort") if isinstance(output_config, Mapping) else None
    if effort in ORDER:
        return effort
    if kind == "enabled":
        return of_budget(thinking.get("budget_tokens"))
    return "medium" if kind == "adaptive" else None
