"""Capabilities and reasoning settings of Claude models, derived from family and version in the name.

They agree with LiteLLM's map; a test compares them. https://platform.claude.com/docs/en/about-claude/models/overview

Newer models adapt their reasoning to an effort level. Older ones have a token budget.
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..shared.wire import Malformed

DEFAULT_MAX_TOKENS = 4096

# `claude-sonnet-4-6`, `claude-opus-4-5-20251101`, `claude-sonnet-4.6@20260219`. Names of Claude 3 differ.
_NAME = re.compile(r"claude-([a-z]+)-(\d)(?:[-._](\d{1,2}))?(?!\d)")
_ALWAYS_THINKING = ("fable", "mythos")
# Models that do not support forced tool calls.
_UNFORCED = re.compile(r"claude-(?:sonnet|opus|fable|mythos)-5-5|claude-(?:fable|mythos)-5-1")


class Traits(NamedTuple):
    """The capabilities of a model.

    `max_tokens`: the largest output. `json_schema`: accepts `output_config.format`. `adaptive`: decides by itself how
    long to reason. `budgets`: accepts a token budget for reasoning. `sampling`: accepts temperature and related fields.
    `forced_tools`: accepts the tool_choice `any` and `tool`. `system_turns`: accepts system messages within the
    conversation. `efforts`: accepted levels of `output_config`. `thinks`: can reason. `always_thinks`: reasoning cannot
    be turned off.
    """

    max_tokens: int = DEFAULT_MAX_TOKENS
    json_schema: bool = False
    adaptive: bool = False
    budgets: bool = True
    sampling: bool = True
    forced_tools: bool = True
    system_turns: bool = False
    efforts: frozenset[str] = frozenset()
    thinks: bool = True
    always_thinks: bool = False


_OLD = Traits(thinks=False)


@lru_cache(maxsize=1024)
def traits(model: str) -> Traits:
    name = model.lower()
    found = _NAME.search(name)
    preview = "claude-mythos-preview" in name
    if found is None and not preview:
        return _OLD._replace(thinks="claude-3-7-sonnet" in name)
    family, version = ("mythos", (4, 8)) if found is None else (found[1], (int(found[2]), int(found[3] or 0)))
    if version < (4, 5):  # retired models
        return Traits()
    adaptive = version >= (4, 6)
    efforts: set[str] = set()
    if adaptive or (family, version) == ("opus", (4, 5)):
        efforts |= {"low", "medium", "high"}
    if adaptive:
        efforts.add("max")
    if version >= (4, 7):
        efforts.add("xhigh")
    return Traits(
        max_tokens=128_000 if adaptive else 64_000,
        json_schema=True,
        adaptive=adaptive,
        budgets=version <= (4, 6),
        sampling=version < (4, 7),
        forced_tools=_UNFORCED.search(name) is None,
        system_turns=version >= (4, 8) and not preview,
        efforts=frozenset(efforts),
        always_thinks=family in _ALWAYS_THINKING or _UNFORCED.search(name) is not None,
    )


LEAST_BUDGET = 1024
# LiteLLM's values.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_DISPLAYS = ("summarized", "omitted")


def thinking(fields: Mapping[str, Any], can: Traits) -> dict[str, Any]:
    """The `thinking` and `output_config` for a chat completion's request body. Raises Malformed.

    container/formats/client_apis/messages/__init__.py does this for `/v1/messages`.
    """
    made: dict[str, Any] = {}
    effort = fields.get("reasoning_effort")
    if isinstance(effort, dict):
        effort = effort.get("effort")
    if effort is not None and effort != "none":
        made = _by_effort(effort, can)
    given = fields.get("thinking")
    if given is not None:
        if not isinstance(given, dict):
            raise Malformed("thinking", "'thinking' has to be an object.")
        made.update(_as_asked(given, can, {**fields, **made}))
    if made.get("thinking") is None:
        made.pop("thinking", None)
    return made


def _by_effort(effort: Any, can: Traits) -> dict[str, Any]:
    if effort not in _EFFORTS:
        raise Malformed("reasoning_effort", f"'reasoning_effort' has to be one of {', '.join(_EFFORTS)} or none.")
    if not can.adaptive:
        return {"thinking": {"type": "enabled", "budget_tokens": BUDGETS[effort]}}
    level = _EFFORTS[effort]
    if level not in can.efforts:
        raise Malformed("reasoning_effort", f"This model does not support the 'reasoning_effort' {effort}.")
    # Without `display`, the reasoning is omitted.
    return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": level}}


def _as_asked(given: dict[str, Any], can: Traits, fields: Mapping[str, Any]) -> dict[str, Any]:
    kind, budget = given.get("type"), given.get("budget_tokens")
    if kind == "disabled" and can.always_thinks:
        return {"thinking": None}
    if kind == "adaptive" and not can.adaptive:
        return {"thinking": capped(BUDGETS["medium"], fields.get("max_completion_tokens") or fields.get("max_tokens"))}
    if kind == "enabled" and not can.budgets:
        shown = {"display": given["display"]} if given.get("display") in _DISPLAYS else {}
        config = fields.get("output_config")
        effort = effort_of(budget if isinstance(budget, int) else 0, can)
        return {
            "thinking": {"type": "adaptive", **shown},
            "output_config": {"effort": effort, **(config if isinstance(config, dict) else {})},
        }
    return {"thinking": given}


def capped(budget: int, max_tokens: Any) -> dict[str, Any] | None:
    """Limits a budget so that some of the output limit remains for the response. None if there is no room for
    reasoning.
    """
    if isinstance(max_tokens, int):
        if max_tokens <= LEAST_BUDGET:
            return None
        budget = min(budget, max_tokens - 1)
    return {"type": "enabled", "budget_tokens": budget}


def effort_of(budget: int, can: Traits) -> str:
    if budget >= BUDGETS["xhigh"] and "xhigh" in can.efforts:
        return "xhigh"
    return "high" if budget >= BUDGETS["high"] else "medium" if budget >= BUDGETS["medium"] else "low"
