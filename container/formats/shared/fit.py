"""Adapts a chat request in OpenAI's format to the capabilities of the model. Plain requests pass unchanged."""

from collections.abc import Mapping
from typing import Any

from ...request.conversation import Conversation
from . import reasoning
from .capabilities import VALIDATED, Capabilities
from .format import Unsupported

Fields = dict[str, Any]

# Values that are equivalent to leaving the field out.
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "reasoning_effort": ("none",),
    "thinking": ({"type": "disabled"},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True,),
    "stop": ([],),
}
# Output-shaping fields of other servers. Clients that send them rely on them.
_SHAPING = frozenset(
    "top_k min_p top_a typical_p repetition_penalty guided_json guided_regex guided_choice guided_grammar grammar "
    "structured_outputs chat_template_kwargs enable_thinking reasoning documents safe_prompt".split()
)
_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_OF_OURS = frozenset(("thinking_blocks", "provider_specific_fields", "reasoning_items"))
_THOUGHTS = _OF_OURS | {"reasoning_content", "reasoning", "reasoning_details"}
# The message fields that strict providers accept.
_OF_A_CALL = frozenset(("id", "type", "function", "custom"))
_OF_A_FUNCTION = frozenset(("name", "arguments"))
_OF_A_MESSAGE = frozenset("role content name tool_calls tool_call_id function_call prefix".split())


# Fields that are handled individually.
_NAMED = frozenset("thinking reasoning_effort tool_choice parallel_tool_calls stop metadata tools".split())


def chat(
    body: Fields,
    can: Capabilities,
    presets: Mapping[str, Any],
    seen: Conversation | None = None,
    *,
    drop_params: bool,
) -> None:
    """Adapts the merged fields of a chat completion in place, without modifying their values.

    `seen` summarizes the client's messages, if known. Raises Unsupported if the model does not accept one of the
    client's fields and leaving it out would matter, unless `drop_params` is set.
    """
    named = not _NAMED.isdisjoint(body)
    if named and ("thinking" in body or "reasoning_effort" in body):
        _think(body, can)
    if can.accepted is not None:
        for name in body.keys() - can.accepted:
            _leave_out(body, name, presets, drop_params)
    elif not can.refused.isdisjoint(body):
        for name in body.keys() & can.refused:
            _leave_out(body, name, presets, drop_params)
    if can.samples != "always":
        sample(body, can, presets, drop_params=drop_params)
    if can.renamed:
        for name in can.renamed.keys() & body.keys():
            body.setdefault(can.renamed[name], body.pop(name))
    if named:
        _fit_named(body, can, seen, drop_params=drop_params)
    messages = body["messages"]
    if seen is None or seen.messages is not messages or not (seen.plain or _takes_all(can, seen)):
        body["messages"] = _messages(messages, can)


def _fit_named(body: Fields, can: Capabilities, seen: Conversation | None, *, drop_params: bool) -> None:
    tools = body.get("tools")
    if ("tool_choice" in body or "parallel_tool_calls" in body) and not (tools or body.get("functions")):
        body.pop("tool_choice", None)
        body.pop("parallel_tool_calls", None)
    stop = body.get("stop")
    if drop_params and can.most_stops and isinstance(stop, list):
        body["stop"] = stop[: can.most_stops]
    # OpenAI refuses it unless the response is stored; for others it is our own label
    if "metadata" in body and not body.get("store"):
        del body["metadata"]
    if not can.cache_markers and tools and (seen is None or seen.tools is not tools):
        body["tools"] = _unmarked(tools)


def _leave_out(body: Fields, name: str, presets: Mapping[str, Any], drop_params: bool) -> None:
    if name in presets and body[name] is presets[name] and not (drop_params and name not in _SHAPING):
        return  # fields from the config are always sent
    value = body.pop(name)
    if not drop_params and missed(name, value):
        raise Unsupported(name, f"This model does not support '{name}'.")


def missed(name: str, value: Any) -> bool:
    """Whether leaving out the field would matter: it has an effect, and it is not a label of the client's own."""
    return value is not None and (name in VALIDATED or name in _SHAPING) and value not in _NOTHING.get(name, ())


def sample(body: Fields, can: Capabilities, presets: Mapping[str, Any], *, drop_params: bool) -> None:
    """Removes sampling fields for OpenAI's reasoning models, unless reasoning is off. Raises Unsupported."""
    if can.samples == "unless_reasoning" and body.get("reasoning_effort", can.default_effort) == "none":
        return
    for name in _SAMPLING:
        if name in body and not (name == "temperature" and body[name] == 1):
            _leave_out(body, name, presets, drop_params)


def _think(body: Fields, can: Capabilities) -> None:
    """Adapts `reasoning_effort` and `thinking` to the model.

    The effort becomes a level that the model accepts. `thinking` is kept if accepted, or else converted to an effort.
    """
    if can.effort_as == "itself":
        body.pop("reasoning_effort", None)
        body.pop("thinking", None)
        return
    asked = body.get("reasoning_effort")
    if isinstance(asked, dict):  # the form used by the Responses API
        asked = asked.get("effort")
    thinking = body.get("thinking")
    if asked is None and (can.effort_as == "thinking" or "thinking" not in (can.fields or ("thinking",))):
        asked = reasoning.of_thinking(thinking)
    if can.effort_as == "thinking":
        body.pop("reasoning_effort", None)
        if asked is not None:
            body["thinking"] = {"type": "disabled" if asked == "none" else "enabled"}
        return
    if not isinstance(asked, str) or (can.efforts is not None and not can.efforts):
        return
    if "thinking" not in (can.fields or ("thinking",)):
        body.pop("thinking", None)
    level = reasoning.nearest(asked, can.efforts)
    if level == "none" and can.effort_as == "toggle":
        body.pop("reasoning_effort", None)
        body["reasoning"] = {"enabled": False}
    elif level is None:
        body.pop("reasoning_effort", None)
    else:
        body["reasoning_effort"] = level


def _takes_all(can: Capabilities, seen: Conversation) -> bool:
    """Whether all messages can stay unchanged."""
    if not seen.ordinary or (seen.developer and not can.developer_role) or (seen.unsaid and _is_strict(can)):
        return False
    return can.empty_turns or not seen.unsaid


def _unwanted(can: Capabilities) -> frozenset[str]:
    return _THOUGHTS if can.thoughts == "strip" else frozenset() if can.cache_markers else _OF_OURS


def _is_strict(can: Capabilities) -> bool:
    return can.accepted is not None and not can.developer_role


def _messages(messages: list[Any], can: Capabilities) -> list[Any]:
    """Adapts the messages. Returns the same list if nothing changes."""
    unwanted, strict = _unwanted(can), _is_strict(can)
    made: list[Any] | None = None
    for index, message in enumerate(messages):
        fitted = _message(message, can, unwanted, strict)
        if fitted is not message:
            if made is None:
                made = list(messages)
            made[index] = fitted
    if not can.empty_turns and any(map(_is_empty, messages)):
        return [message for message in made or messages if not _is_empty(message)]
    return messages if made is None else made


def _is_empty(message: Any) -> bool:
    """Whether an assistant message has neither content nor tool calls."""
    return message.get("role") == "assistant" and not (message.get("content") or message.get("tool_calls"))


def _message(message: Any, can: Capabilities, unwanted: frozenset[str], strict: bool) -> Any:
    fitted = message
    if not can.developer_role and message.get("role") == "developer":
        fitted = {**fitted, "role": "system"}
    if not unwanted.isdisjoint(message):
        fitted = {name: value for name, value in fitted.items() if name not in unwanted}
    if strict and (None in message.values() or not message.keys() <= _OF_A_MESSAGE):
        kept = {name: value for name, value in fitted.items() if name in _OF_A_MESSAGE and value is not None}
        fitted = kept if "content" in kept or "tool_calls" in kept else {**kept, "content": message.get("content")}
    elif None in message.values():  # sent by SDKs; OpenAI requires `tool_calls`, if present, to be an array
        fitted = {name: value for name, value in fitted.items() if value is not None or name == "content"}
    if can.named_roles is not None and "name" in message and message.get("role") not in can.named_roles:
        fitted = {name: value for name, value in fitted.items() if name != "name"}
    calls = message.get("tool_calls")
    if calls and can.accepted is not None and not all(map(_is_plain_call, calls)):
        fitted = {**fitted, "tool_calls": [_plain_call(call) for call in calls]}
    if not can.cache_markers:
        if "cache_control" in message:
            fitted = {name: value for name, value in fitted.items() if name != "cache_control"}
        content = message.get("content")
        if isinstance(content, list):
            parts = _unmarked(content)
            if parts is not content:
                fitted = {**fitted, "content": parts}
    return fitted


def _is_plain_call(call: Any) -> bool:
    return not isinstance(call, dict) or (
        call.keys() <= _OF_A_CALL
        and (not isinstance(call.get("function"), dict) or call["function"].keys() <= _OF_A_FUNCTION)
    )


def _plain_call(call: Any) -> Any:
    """Removes the fields that only LiteLLM or other providers use, such as `index` and `provider_specific_fields`."""
    if not isinstance(call, dict):
        return call
    made = {name: value for name, value in call.items() if name in _OF_A_CALL}
    if isinstance(made.get("function"), dict):
        made["function"] = {name: value for name, value in made["function"].items() if name in _OF_A_FUNCTION}
    return made


def _unmarked(items: list[Any]) -> list[Any]:
    """Removes `cache_control` from parts or tools at any depth. Returns the same list if there is none."""
    if not any(_marked(item) for item in items):
        return items
    return [_without_marker(item) for item in items]


def _marked(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if "cache_control" in item:
        return True
    inner = item.get("function") or item.get("content")
    return any(map(_marked, inner)) if isinstance(inner, list) else isinstance(inner, dict) and "cache_control" in inner


def _without_marker(item: Any) -> Any:
    if isinstance(item, list):
        return [_without_marker(each) for each in item]
    if not isinstance(item, dict):
        return item
    made = {name: value for name, value in item.items() if name != "cache_control"}
    for name in ("function", "content"):
        if isinstance(made.get(name), (dict, list)):
            made[name] = _without_marker(made[name])
    return made
