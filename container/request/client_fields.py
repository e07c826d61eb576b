"""Handles fields that LiteLLM's clients send but providers reject: drops labels and normalizes the rest."""

from typing import Any

from ..config import output_limits
from .chat_from_input import chat_from_input

LABELS = frozenset(
    "user metadata store safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options "
    "prompt_cache_isolation_key client_metadata session_id trace_id user_id extra_metadata".split()
)


# LiteLLM's labels. Its proxy trusts some of them, so the engine never sees them either.
_LABELS = "tags litellm_session_id litellm_trace_id litellm_metadata litellm_call_id id"
# Options of LiteLLM's clients. Leaving them out changes neither the response nor its price.
_WISHES = "caching drop_params max_retries request_timeout stream_timeout verbose"
TRACKING = frozenset(f"{_LABELS} {_WISHES}".split())
_TOOLS = ("tools", "functions")
_OF_TOOLS = ("tool_choice", "parallel_tool_calls", "function_call")
_NO_CHOICE = ("auto", "none")
_MAY_SAY_NOTHING = frozenset(("stop", "modalities", "reasoning_effort"))
# Every field that is checked by name, except output limits.
_TIDIED = TRACKING.union(_TOOLS, _OF_TOOLS, _MAY_SAY_NOTHING, ("stream_options", "user", "input"))


def drop_labels(body: dict[str, Any]) -> None:
    if not TRACKING.isdisjoint(body):
        for name in TRACKING:
            body.pop(name, None)


def tidy(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the request's fields as providers expect them. May change `body`.

    Raises ApiError 400 for an `input` that cannot be turned into messages.
    """
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    for name in output_limits.NAMES.intersection(body):
        if _is_no_limit(body[name]):
            del body[name]
    return body if _TIDIED.isdisjoint(body) else _tidied(endpoint, body)


def _tidied(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    drop_labels(body)
    if "stream_options" in body and not body.get("stream"):
        del body["stream_options"]
    if "user" in body:
        name_user(body)
    if endpoint == "chat_completions":
        if "input" in body:
            body = chat_from_input(body)
        _tidy_tools(body)
    if not _MAY_SAY_NOTHING.isdisjoint(body):
        for name in _MAY_SAY_NOTHING.intersection(body):
            if body[name] in ("", []):
                del body[name]
    return body


def _is_no_limit(value: Any) -> bool:
    return type(value) in (int, float) and value <= 0


def name_user(body: dict[str, Any]) -> None:
    """Make `user` a string, as providers require."""
    if isinstance(body.get("user", ""), str):
        return
    user = body.pop("user")
    if isinstance(user, int | float) and not isinstance(user, bool):
        body["user"] = str(user)


def _tidy_tools(body: dict[str, Any]) -> None:
    for name in _TOOLS:
        if name in body and body[name] == []:
            del body[name]
    tools = body.get("tools")
    if isinstance(tools, list):
        if any("name" in tool for tool in tools if isinstance(tool, dict)):
            body["tools"] = [nested(tool) if _is_flat(tool) else tool for tool in tools]
    elif "functions" not in body:
        for name in _OF_TOOLS:  # providers reject a tool choice without tools
            if name in body and _chooses_nothing(name, body[name]):
                del body[name]


def _chooses_nothing(name: str, value: Any) -> bool:
    return isinstance(value, bool) if name == "parallel_tool_calls" else value in _NO_CHOICE


def _is_flat(tool: Any) -> bool:
    """Whether this is a function in the format of the Responses API."""
    return isinstance(tool, dict) and tool.get("type") == "function" and "function" not in tool and "name" in tool


def nested(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a function in the format of chat completions."""
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
