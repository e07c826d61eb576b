"""A format whose provider gets each conversation as it takes one, whoever answered earlier parts of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...config import Deployment
from ...request.completion import Completion
from ...routing.outcome import Outcome
from .. import call_ids, earlier_thoughts, foreign_parts, tool_names
from ..answer import Events, Plain
from ..capabilities import capabilities
from ..plain_chat import is_plain
from ..prepare import Address
from ..tool_names import RestoredEvents
from . import parts
from .format import Format, Sent

_CHAT = "chat_completions"
_SIGNED = ("gemini", "vertex_ai")
# Beside the messages, what has to be looked at.
_FITTED = frozenset(("metadata", "tools", "tool_choice", "functions", "function_call"))
_NO_NAMES: Mapping[str, str] = {}


class Fitted:
    """`inner` with the ids of calls, the names of tools, the thoughts and the parts of a chat as the model takes them.
    The answer has the client's own names again."""

    def __init__(self, inner: Format, *, drop_params: bool) -> None:
        self._inner = inner
        self._drop_params = drop_params

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._inner.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return self._inner.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if request.endpoint != _CHAT:
            return self._inner.request(d, model, request)
        body, names = fit(d, model, request.body, drop_params=self._drop_params)
        if body is not request.body:
            request = replace(request, body=dict(body))
        sent = self._inner.request(d, model, request)
        return sent._replace(names=names) if names else sent

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        names: Mapping[str, str] = {}
        if request.endpoint == _CHAT:
            body, names = fit(d, model, request.body, drop_params=self._drop_params)
            if body is not request.body:
                request = replace(request, body=dict(body))
        other = self._inner.again(d, model, request, sent, refusal)
        return other._replace(names=names) if other is not None and names else other

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        answer = self._inner.plain(raw, name, sent)
        if sent.names and isinstance(answer, Plain):
            return replace(answer, body=tool_names.given_back(answer.body, sent.names))
        return answer

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        events = self._inner.events(name, request, sent)
        return RestoredEvents(events, sent.names) if sent.names else events

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._inner.failure(status, headers, raw)


def fit(
    d: Deployment, model: str, body: Mapping[str, Any], *, drop_params: bool
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The body of a chat completion as the model takes it, itself where nothing has to change; and the client's names
    of tools by those that go out."""
    messages = body.get("messages")
    if _FITTED.isdisjoint(body) and isinstance(messages, list) and is_plain(messages):
        return body, _NO_NAMES
    if "metadata" in body and d.format == "openai":
        body = _stored_only(body)
    can = capabilities(d, model)
    claude = d.format == "anthropic" or (d.format == "vertex_ai" and model.startswith("claude-"))
    gemini = d.format in _SIGNED and not claude
    if isinstance(messages, list):
        fitted = call_ids.fitted(messages, can.call_id_length, can.call_id_pattern, signed=gemini)
        if not claude:
            fitted = foreign_parts.without(fitted)
            if not gemini:
                fitted = earlier_thoughts.fitted(fitted, required=can.thoughts == "require")
                fitted = parts.fitted(fitted, can.texts, drop_params=drop_params)
        if fitted is not messages:
            body = {**body, "messages": fitted}
    if claude:  # its format has longer names, and renames itself
        return body, {}
    return tool_names.fitted(body, can.tool_name_length, tool_names.GOOGLES if gemini else tool_names.USUAL)


def _stored_only(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields without the `metadata` that OpenAI refuses: any beside what is not stored, and all but texts. To
    LiteLLM's clients it is a place for labels (`{"tags": […]}`), which its proxy keeps to itself.

    https://platform.openai.com/docs/api-reference/chat/create#chat_create-metadata
    """
    given = body["metadata"]
    kept = {}
    if body.get("store") is True and isinstance(given, dict):
        kept = {name: value for name, value in given.items() if isinstance(value, str)}
    rest = {name: value for name, value in body.items() if name != "metadata"}
    return {**rest, "metadata": kept} if kept else rest
