"""Support for OpenAI's Responses API, and for conversations with content that only Claude understands.

`ChatOnly` remembers servers without a Responses API. Many OpenAI-compatible servers return 404 for it. LiteLLM then
calls chat completions and translates both ways. https://docs.litellm.ai/docs/response_api

`fitted` adapts the labels, call ids and tool names of a request to the model's provider.
https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

`without` removes parts that only Claude understands, for any other model. Anthropic's own tools create them, and
clients send them for the rest of the conversation. Parts that a model would miss, such as images and documents, are
kept.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...config.deployment import Deployment
from ...routing.outcome import Outcome
from . import call_ids, refusals, tool_names
from .capabilities import capabilities
from .known_models import gives_reasoning

ENDPOINT = "responses"
# LiteLLM's request field for this.
THROUGH_CHAT = {"use_chat_completions_api": True}
_NOT_FOUND = 404
_NO_SUCH_PAGE = (_NOT_FOUND, 405, 501)
# llama.cpp says "File Not Found" for a missing path.
_PAGE = re.compile(r"\bfile not found\b(?!:)|\brequest url\b|\bpage not found\b")
_MOST_LEARNT = 4096


class ChatOnly:
    """Remembers which deployments have no Responses API, per model."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def knows(self, d: Deployment, model: str) -> bool:
        return (d.id, model) in self._known

    def learn(self, d: Deployment, model: str) -> None:
        if len(self._known) >= _MOST_LEARNT:  # with wildcards, clients choose the model names
            self._known.clear()
        self._known.add((d.id, model))


def may_be(refusal: Outcome) -> bool:
    """Whether a refusal of `/responses` may mean that the endpoint is missing, and not the model or something in the
    request.
    """
    if refusal.status != _NOT_FOUND:
        return refusal.status in _NO_SUCH_PAGE
    said = refusal.message.lower()
    if refusals.says_no_such_model(refusal.code or "", said):
        return False
    return refusal.kind == "not_found" or _PAGE.search(said) is not None


def of_both(page: Outcome, chat: Outcome) -> Outcome:
    """The outcome if both endpoints refused: chat's, unless that endpoint is missing too."""
    return page if chat.status in _NO_SUCH_PAGE else chat


# Higher than in chat completions.
_LONGEST_ID = 64
_SIGNED = ("gemini", "vertex_ai", "vertex_ai_beta")


# Providers with a native Responses API. For others LiteLLM translates to chat, and refuses OpenAI's labels.
_NATIVE = ("openai", "azure", "xai", "openrouter")
_OPENAIS = frozenset("prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier".split())


# For non-reasoning models, these refuse the reasoning of other models.
_OF_OPENAI = ("openai", "azure")


class Fitted(NamedTuple):
    """The result of adapting a request.

    `fields` are the changed fields. `names` maps the tool names sent to the client's names. `dropped` are fields that
    the provider does not know and that do not affect the response.
    """

    fields: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}
    dropped: frozenset[str] = frozenset()


def fitted(d: Deployment, model: str, fields: Mapping[str, Any]) -> Fitted:
    """Adapts a Responses API request. Gemini's input stays as it is: LiteLLM reads the signatures in its ids."""
    dropped = frozenset() if d.provider in _NATIVE else _OPENAIS.intersection(fields)
    if d.provider not in _NATIVE and fields.get("top_logprobs") == 0:
        dropped |= {"top_logprobs"}
    if d.provider in _SIGNED:
        return Fitted(dropped=dropped)
    can = capabilities(d, model)
    length = None if can.call_id_length is None else max(can.call_id_length, _LONGEST_ID)
    made: dict[str, Any] = {}
    items = fields.get("input")
    if isinstance(items, list) and d.provider in _OF_OPENAI and not gives_reasoning(d, model):
        items = _without_reasoning(items)
        if items is not fields["input"]:
            made["input"] = items
    if isinstance(items, list):
        fit = call_ids.fitted_items(items, length, can.call_id_pattern)
        if fit is not items:
            made["input"] = fit
    changed, names = tool_names.fitted({**fields, **made}, can.tool_name_length)
    if names:
        made.update({name: changed[name] for name in ("tools", "tool_choice", "input") if name in changed})
    return Fitted(made, names, dropped)


def _without_reasoning(items: list[Any]) -> list[Any]:
    """Removes reasoning items. Returns the same list if there are none."""
    kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return items if len(kept) == len(items) else kept


_ONLY_CLAUDES = frozenset(
    "tool_reference server_tool_use container_upload compaction redacted_thinking mcp_tool_use "
    "search_result_location web_search_tool_result web_fetch_tool_result".split()
)
_OF_RESULTS = "_tool_result"
LEFT_OUT = "[left out: {kind}]"


def is_foreign(kind: Any) -> bool:
    """Whether only Claude understands a part or block of this type."""
    return isinstance(kind, str) and (kind in _ONLY_CLAUDES or kind.endswith(_OF_RESULTS))


def without(messages: list[Any]) -> list[Any]:
    """Removes the parts that only Claude understands. Returns the same list if there are none.

    A message with no other parts is replaced with a summary, because a conversation must not lose a turn.
    """
    made: list[Any] | None = None
    for at, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, list):
            continue
        kept = [part for part in content if not (isinstance(part, dict) and is_foreign(part.get("type")))]
        if len(kept) == len(content):
            continue
        if not kept and not message.get("tool_calls"):
            kept = [{"type": "text", "text": summary(content)}]
        made = list(messages) if made is None else made
        made[at] = {**message, "content": kept or None}
    return messages if made is None else made


def summary(blocks: Iterable[Any]) -> str:
    """One line about the removed blocks: the tools found, a summary of the conversation, or the block types."""
    found = [block for block in blocks if isinstance(block, dict)]
    summaries = [b["content"] for b in found if b.get("type") == "compaction" and isinstance(b.get("content"), str)]
    if summaries:
        return "\n".join(summaries)
    tools = [str(b["tool_name"]) for b in found if b.get("type") == "tool_reference" and b.get("tool_name")]
    if tools:
        return f"Tools found: {', '.join(tools)}"
    return LEFT_OUT.format(kind=", ".join(dict.fromkeys(str(b.get("type")) for b in found)))
