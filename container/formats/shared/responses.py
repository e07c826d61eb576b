"""Servers that have chat completions and no Responses API, as many with OpenAI's format: asked for a response they
answer that there is no such page. LiteLLM then asks them for chat, and translates both ways.

https://docs.litellm.ai/docs/response_api

A request of OpenAI's Responses API with the labels, the ids of calls and the names of tools that the model's
provider takes.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

Parts of a conversation that mean something to Claude alone, left out for any other model.

They come with what Anthropic's own tools did, and clients send them back for as long as the conversation goes on. What
a model would miss (a picture, a document) is none of them.
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
# LiteLLM's word for it, in a request.
THROUGH_CHAT = {"use_chat_completions_api": True}
_NOT_FOUND = 404
_NO_SUCH_PAGE = (_NOT_FOUND, 405, 501)
# llama.cpp says of a page: "File Not Found".
_PAGE = re.compile(r"\bfile not found\b(?!:)|\brequest url\b|\bpage not found\b")
_MOST_LEARNT = 4096


class ChatOnly:
    """Learns which deployments they are, for a model each."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def knows(self, d: Deployment, model: str) -> bool:
        return (d.id, model) in self._known

    def learn(self, d: Deployment, model: str) -> None:
        if len(self._known) >= _MOST_LEARNT:  # a wildcard's models are what clients write
            self._known.clear()
        self._known.add((d.id, model))


def may_be(refusal: Outcome) -> bool:
    """Whether a refusal of `/responses` may say that there is no such page, and not that something in the request, or
    the model, is not there."""
    if refusal.status != _NOT_FOUND:
        return refusal.status in _NO_SUCH_PAGE
    said = refusal.message.lower()
    if refusals.says_no_such_model(refusal.code or "", said):
        return False
    return refusal.kind == "not_found" or _PAGE.search(said) is not None


def of_both(page: Outcome, chat: Outcome) -> Outcome:
    """What counts where neither way has answered: chat's refusal, unless there is no such page either."""
    return page if chat.status in _NO_SUCH_PAGE else chat


# Longer than in chat completions.
_LONGEST_ID = 64
_SIGNED = ("gemini", "vertex_ai", "vertex_ai_beta")


# They have a Responses API of their own; for all others LiteLLM makes chat of it, and refuses labels of OpenAI's.
_NATIVE = ("openai", "azure", "xai", "openrouter")
_OPENAIS = frozenset("prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier".split())


# They refuse what another model has thought where the one at hand does not think.
_OF_OPENAI = ("openai", "azure")


class Fitted(NamedTuple):
    """`fields`: those that had to change; `names`: the client's names of tools, by those that go out; `dropped`: the
    fields that the provider does not know, and that an answer does not depend on."""

    fields: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}
    dropped: frozenset[str] = frozenset()


def fitted(d: Deployment, model: str, fields: Mapping[str, Any]) -> Fitted:
    """Gemini gets everything as it is: LiteLLM reads the signatures in its ids."""
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
    """The same list where there is none."""
    kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return items if len(kept) == len(items) else kept


_ONLY_CLAUDES = frozenset(
    "tool_reference server_tool_use container_upload compaction redacted_thinking mcp_tool_use "
    "search_result_location web_search_tool_result web_fetch_tool_result".split()
)
_OF_RESULTS = "_tool_result"
LEFT_OUT = "[left out: {kind}]"


def is_foreign(kind: Any) -> bool:
    """Whether a part or block of this type is Claude's alone."""
    return isinstance(kind, str) and (kind in _ONLY_CLAUDES or kind.endswith(_OF_RESULTS))


def without(messages: list[Any]) -> list[Any]:
    """The messages of a chat without such parts; the list itself where there are none. A message that has nothing else
    says what was left out, as a conversation must not lose a turn."""
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
    """One line for what was left out: the names of the tools found, a summary of the conversation, or the types."""
    found = [block for block in blocks if isinstance(block, dict)]
    summaries = [b["content"] for b in found if b.get("type") == "compaction" and isinstance(b.get("content"), str)]
    if summaries:
        return "\n".join(summaries)
    tools = [str(b["tool_name"]) for b in found if b.get("type") == "tool_reference" and b.get("tool_name")]
    if tools:
        return f"Tools found: {', '.join(tools)}"
    return LEFT_OUT.format(kind=", ".join(dict.fromkeys(str(b.get("type")) for b in found)))
