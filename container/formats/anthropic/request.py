"""Translates a chat completion request to Anthropic's Messages API.

https://platform.claude.com/docs/en/api/messages
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..shared.fit import missed
from ..shared.format import Unsupported
from . import tools
from .messages import conversation
from .models import DEFAULT_MAX_TOKENS, Traits, capped, thinking

JSON_TOOL = "json_tool_call"
STRUCTURED_OUTPUTS = "structured-outputs-2025-11-13"
EFFORT = "effort-2025-11-24"

_MESSAGES, _FORMAT = "messages", "response_format"
# OpenAI's fields without an equivalent, and their values without effect.
_NOT_HERE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    **dict.fromkeys(
        "functions function_call top_logprobs seed prediction audio verbosity".split(),
        (),
    ),
}
_TRANSLATED = frozenset(
    "model messages max_tokens max_completion_tokens tools tool_choice parallel_tool_calls stream stream_options stop "
    "temperature top_p top_k response_format user metadata thinking reasoning_effort web_search_options service_tier "
    "output_config".split()
)
# Anthropic's own fields.
_OWN = frozenset(
    "cache_control container context_management mcp_servers output_format output_config thinking top_k".split()
)
_SAMPLING = ("temperature", "top_p", "top_k")
_TIERS = {"auto": "auto", "standard_only": "standard_only", "default": "standard_only"}
# Anthropic refuses user ids that contain personal data.
_EMAIL = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$")
_PHONE = re.compile(r"\+?[\d\s()-]{7,}$")


class Translated(NamedTuple):
    """The translated request.

    `body` contains all fields except `model`. `betas` are for the `anthropic-beta` header. `names` maps Anthropic's
    tool names to the client's. `json_tool` means that the response will be a tool call, because the model cannot follow
    a schema otherwise.
    """

    body: dict[str, Any]
    betas: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    json_tool: bool = False


def translate(
    can: Traits,
    fields: Mapping[str, Any],
    *,
    drop_params: bool,
    max_tokens: int | None = None,
    ours: bool = False,
    presets: Collection[str] = (),
) -> Translated:
    """Translates the request for a model with the traits `can`.

    `fields` are those of a chat completion, including the deployment's presets. `max_tokens` is the model's largest
    output, if known. `ours` means that the client did not choose both the output limit and the reasoning budget, so the
    budget may shrink. `presets` names the fields set by the config. Raises Unsupported and Malformed.
    """
    body: dict[str, Any] = {}
    given = {name: value for name, value in fields.items() if value is not None}
    _refuse(given, can, drop_params)
    names = _tools(body, given, can, drop_params)
    body["system"], body["messages"] = conversation(given[_MESSAGES], names, system_turns=can.system_turns)
    if not body["system"]:
        del body["system"]
    body.update(thinking(given, can))
    if "output_config" in given and "output_config" not in body:
        body["output_config"] = given["output_config"]
    json_tool = _answer_format(body, given, can)
    if "tools" not in body and any(m.get("tool_calls") for m in given[_MESSAGES]):
        body["tools"] = [tools.DUMMY]
    body["max_tokens"] = _limit(body, given, can, max_tokens)
    if ours and isinstance(body.get("thinking"), dict) and "budget_tokens" in body["thinking"]:
        _make_room(body)
    _sampling(body, given, can, drop_params)
    _rest(body, given, drop_params, presets)
    return Translated(body, _betas(body, can), {theirs: here for here, theirs in names.items()}, json_tool)


def _refuse(given: dict[str, Any], can: Traits, drop_params: bool) -> None:
    for name in _NOT_HERE.keys() & given.keys():
        if not drop_params and given[name] not in _NOT_HERE[name]:
            raise Unsupported(name, f"Claude does not support '{name}'.")
        del given[name]
    for name in () if can.thinks else ("reasoning_effort", "thinking"):
        if name in given and not drop_params:
            raise Unsupported(name, f"This model does not support '{name}'.")
        given.pop(name, None)


def _tools(body: dict[str, Any], given: Mapping[str, Any], can: Traits, drop_params: bool) -> dict[str, str]:
    """Translates tools and tool choice. Returns the names that had to change."""
    made = tools.tools(given.get("tools") or ())
    if isinstance(given.get("web_search_options"), dict):
        made.append(tools.web_search(given["web_search_options"]))
    names = tools.allowed_names(
        [t["name"] for t in made if t.get("type") == "custom" and isinstance(t.get("name"), str)]
    )
    if made:
        body["tools"] = [{**t, "name": names[t["name"]]} if t.get("name") in names else t for t in made]
    choice = tools.choice(given.get("tool_choice"), given.get("parallel_tool_calls"))
    if choice is None:
        return names
    if choice["type"] in ("any", "tool") and not can.forced_tools:
        if not drop_params:
            raise Unsupported("tool_choice", "This model cannot be forced to call a tool.")
        choice = {"type": "auto", **{k: v for k, v in choice.items() if k not in ("type", "name")}}
    if "name" in choice:
        choice["name"] = names.get(choice["name"], choice["name"])
    body["tool_choice"] = choice
    return names


def _answer_format(body: dict[str, Any], given: Mapping[str, Any], can: Traits) -> bool:
    """Requests the response format. Returns whether the response will be a call of `JSON_TOOL`."""
    format = given.get(_FORMAT)
    if format is None:
        return False
    wanted = tools.wanted(format)
    if wanted is None:
        return False
    if can.json_schema:
        config = body.get("output_config")
        wanted = {"type": "json_schema", "schema": tools.answer_schema(wanted)}
        body["output_config"] = {**(config if isinstance(config, dict) else {}), "format": wanted}
        return False
    body["tools"] = [{"name": JSON_TOOL, "input_schema": {"type": "object", **wanted}}, *body.get("tools", ())]
    if not body.keys() & {"thinking", "tool_choice"} and can.forced_tools:
        body["tool_choice"] = {"name": JSON_TOOL, "type": "tool"}
    return True


def _limit(body: Mapping[str, Any], given: Mapping[str, Any], can: Traits, of_deployment: int | None) -> int:
    """The output limit, which Anthropic requires.

    This is the client's limit, else the reasoning budget plus the default limit, else the maximum.
    """
    most = of_deployment or can.max_tokens
    asked = given.get("max_tokens")
    if asked:
        return asked
    thought = body.get("thinking")
    if isinstance(thought, dict) and thought.get("type") == "enabled" and isinstance(thought.get("budget_tokens"), int):
        return min(thought["budget_tokens"] + DEFAULT_MAX_TOKENS, max(most, thought["budget_tokens"] + 1))
    return most


def _make_room(body: dict[str, Any]) -> None:
    """Shrinks the reasoning budget to fit into the output limit."""
    fitting = capped(body["thinking"]["budget_tokens"], body["max_tokens"])
    if fitting is None:
        del body["thinking"]
    else:
        body["thinking"] = {**body["thinking"], **fitting}


def _sampling(body: dict[str, Any], given: Mapping[str, Any], can: Traits, drop_params: bool) -> None:
    for name in _SAMPLING:
        value = given.get(name)
        if value is None:
            continue
        if can.sampling or (name == "temperature" and value == 1):
            body[name] = value
        elif not drop_params:
            raise Unsupported(name, f"This model does not support '{name}'.")


def _rest(body: dict[str, Any], given: Mapping[str, Any], drop_params: bool, presets: Collection[str]) -> None:
    stop = given.get("stop")
    sequences = [stop] if isinstance(stop, str) else list(stop or ())
    if drop_params:
        sequences = [s for s in sequences if not s.isspace()]
    if sequences:
        body["stop_sequences"] = sequences
    if given.get("stream"):
        body["stream"] = True
    metadata = given.get("metadata")
    of_metadata = metadata.get("user_id") if isinstance(metadata, dict) else None
    for user in (of_metadata, given.get("user")):
        if isinstance(user, str) and not _EMAIL.match(user) and not _PHONE.match(user):
            body["metadata"] = {"user_id": user}
            break
    tier = given.get("service_tier")
    if tier in _TIERS:
        body["service_tier"] = _TIERS[tier]
    elif tier is not None and not drop_params:
        raise Unsupported("service_tier", f"Claude does not support the 'service_tier' {tier}.")
    for name, value in given.items():
        if name in _OWN or name in presets:
            if name not in _TRANSLATED:
                body.setdefault(name, value)
        elif name not in _TRANSLATED and not drop_params and missed(name, value):
            raise Unsupported(name, f"Claude does not support '{name}'.")


def _betas(body: Mapping[str, Any], can: Traits) -> tuple[str, ...]:
    config = body.get("output_config")
    effort = isinstance(config, dict) and config.get("effort") and not can.adaptive
    # The old place of `output_config.format`, which a config may still set, needs its beta.
    return ((STRUCTURED_OUTPUTS,) if "output_format" in body else ()) + ((EFFORT,) if effort else ())
