"""Adapts `thinking` and `output_config.effort` of `/v1/messages` to the Claude model.

Clients write them for the newest models, but the gateway's model name may map to an older one. Chat completions are
adapted by container/formats/anthropic/models.py. https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
"""

from typing import Any

from ...anthropic.models import BUDGETS, Traits, capped, effort_of


def fitted(body: dict[str, Any], can: Traits) -> None:
    """Adapts `thinking`, `output_config` and `temperature` in place, as LiteLLM does. Invalid values stay, and
    Anthropic refuses them.
    """
    thinking, config = body.get("thinking"), body.get("output_config")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    effort = config.get("effort") if isinstance(config, dict) else None
    if kind == "disabled" and can.always_thinks:
        del body["thinking"]
    elif kind == "enabled" and not can.budgets:
        _by_itself(body, can)
    elif not can.adaptive and (kind == "adaptive" or effort is not None):
        _by_budget(body, can, kind, effort)
    if not can.adaptive and body.get("temperature") not in (None, 1) and _thinks(body):
        del body["temperature"]


def _by_itself(body: dict[str, Any], can: Traits) -> None:
    """Converts a budget to an effort. The newest models do not accept budgets."""
    thinking, config = body["thinking"], body.get("output_config")
    budget = thinking.get("budget_tokens")
    rest = {name: value for name, value in thinking.items() if name in ("display", "block_binding")}
    body["thinking"] = {**rest, "type": "adaptive"}
    effort = effort_of(budget if isinstance(budget, int) else 0, can)
    body["output_config"] = {"effort": effort, **(config if isinstance(config, dict) else {})}


def _by_budget(body: dict[str, Any], can: Traits, kind: str | None, effort: Any) -> None:
    """Converts an effort to a budget, if the output limit has room for one. Older models do not accept efforts.

    A model that accepts efforts without reasoning adaptively keeps its effort and loses an adaptive `thinking`.
    """
    if can.efforts and (kind != "adaptive" or effort in can.efforts):
        if kind == "adaptive":
            del body["thinking"]
        return
    budget = BUDGETS.get(effort or "medium") if isinstance(effort, str | None) else None
    fitting = capped(budget, body.get("max_tokens")) if can.thinks and budget else None
    if fitting is not None:
        body["thinking"] = fitting
    else:
        body.pop("thinking", None)
    if effort is not None:
        rest = {name: value for name, value in body["output_config"].items() if name != "effort"}
        body["output_config"] = rest
        if not rest:
            del body["output_config"]


def _thinks(body: dict[str, Any]) -> bool:
    thinking, config = body.get("thinking"), body.get("output_config")
    enabled = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    return enabled or (isinstance(config, dict) and config.get("effort") is not None)
