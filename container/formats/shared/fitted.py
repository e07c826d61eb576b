"""Wraps a format so that it can continue conversations that other providers have served."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...config.deployment import Deployment
from ...request.completion import Completion
from ...request.conversation import Conversation, look
from ...routing.outcome import Outcome
from . import call_ids, claude_parts, parts, reasoning, tool_names
from .answer import Events, Plain
from .capabilities import Capabilities, capabilities
from .format import Format, Sent
from .tool_names import RestoredEvents

_CHAT = "chat_completions"
_SIGNED = ("gemini", "vertex_ai")
# Fields that need attention besides the messages.
_FITTED = frozenset(("metadata", "tools", "tool_choice", "functions", "function_call"))
_NO_NAMES: Mapping[str, str] = {}


class Fitted:
    """Adapts the call ids, tool names, reasoning and content parts of a chat to the model. The response contains the
    client's tool names again.
    """

    def __init__(self, inner: Format, *, drop_params: bool) -> None:
        self._inner = inner
        self._drop_params = drop_params
        # Delegated directly, which saves a call per request.
        self.address = inner.address
        self.url = inner.url
        self.failure = inner.failure

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if request.endpoint != _CHAT:
            return self._inner.request(d, model, request)
        request, names = self._fitted(d, model, request)
        sent = self._inner.request(d, model, request)
        return sent._replace(names=names) if names else sent

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        names: Mapping[str, str] = {}
        if request.endpoint == _CHAT:
            request, names = self._fitted(d, model, request)
        other = self._inner.again(d, model, request, sent, refusal)
        return other._replace(names=names) if other is not None and names else other

    def _fitted(self, d: Deployment, model: str, request: Completion) -> tuple[Completion, Mapping[str, str]]:
        body = request.body
        seen = request.seen
        if seen is None or seen.messages is not body.get("messages"):
            seen = request.seen = look(body)
        if seen is not None and seen.plain and _FITTED.isdisjoint(body):
            return request, _NO_NAMES
        fitted, names = fit(d, model, body, seen, drop_params=self._drop_params)
        return (request if fitted is body else replace(request, body=dict(fitted))), names

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        answer = self._inner.plain(raw, name, sent)
        if sent.names and isinstance(answer, Plain):
            return replace(answer, body=tool_names.given_back(answer.body, sent.names))
        return answer

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        events = self._inner.events(name, request, sent)
        return RestoredEvents(events, sent.names) if sent.names else events


def fit(
    d: Deployment, model: str, body: Mapping[str, Any], seen: Conversation | None, *, drop_params: bool
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Adapts the body of a chat completion. Returns the same body if nothing changes, and the client's tool names by
    the names sent.

    `seen` summarizes the conversation, or is None if unknown.
    """
    messages = body.get("messages")
    seen = seen if seen is not None and seen.ordinary else None
    if "metadata" in body and d.format == "openai":
        body = _stored_only(body)
    can = capabilities(d, model)
    claude = d.format == "anthropic" or (d.format == "vertex_ai" and model.startswith("claude-"))
    gemini = d.format in _SIGNED and not claude
    if isinstance(messages, list):
        fitted = messages
        if not seen or not _takes_ids(can, seen.longest_id):
            fitted = call_ids.fitted(messages, can.call_id_length, can.call_id_pattern, signed=gemini)
        if not claude:
            if not seen:
                fitted = claude_parts.without(fitted)
            if not gemini:
                required = can.thoughts == "require"
                if not seen or (required and seen.longest_id != 0):
                    fitted = reasoning.fitted(fitted, required=required)
                if not seen or (seen.listed and can.texts != "parts"):
                    fitted = parts.fitted(fitted, can.texts, drop_params=drop_params)
        if fitted is not messages:
            body = {**body, "messages": fitted}
    if claude:  # its format allows longer names and renames them itself
        return body, {}
    pattern = tool_names.GOOGLES if gemini else tool_names.USUAL
    if seen and seen.names is not None and not _names(body) and body.get("tools") is seen.tools:
        longest = can.tool_name_length
        if longest is None or all(tool_names.fitting(name, longest, pattern) == name for name in seen.names):
            return body, _NO_NAMES
    return tool_names.fitted(body, can.tool_name_length, pattern)


def _names(body: Mapping[str, Any]) -> bool:
    """Whether functions are named outside of tools and calls."""
    return bool(body.get("functions")) or any(isinstance(body.get(n), dict) for n in ("tool_choice", "function_call"))


def _takes_ids(can: Capabilities, longest: int | None) -> bool:
    """Whether all ids can stay. `longest` is the length of the longest id, if all ids use the usual characters."""
    if not longest:
        return longest == 0
    return can.call_id_pattern in ("", call_ids.USUAL) and (can.call_id_length is None or longest <= can.call_id_length)


def _stored_only(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Removes the `metadata` that OpenAI refuses: all of it unless the response is stored, and values that are not
    strings.

    LiteLLM's clients use it for labels (`{"tags": […]}`), which its proxy does not forward.
    https://platform.openai.com/docs/api-reference/chat/create#chat_create-metadata
    """
    given = body["metadata"]
    kept = {}
    if body.get("store") is True and isinstance(given, dict):
        kept = {name: value for name, value in given.items() if isinstance(value, str)}
    rest = {name: value for name, value in body.items() if name != "metadata"}
    return {**rest, "metadata": kept} if kept else rest
