"""Request validation of Anthropic's Messages API: https://docs.claude.com/en/api/messages."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anthropic.types.beta.message_create_params import MessageCreateParamsStreaming

from .refusal import Refusal, Wrong

_FIELDS = {name for base in MessageCreateParamsStreaming.__orig_bases__ for name in base.__annotations__} - {"betas"}
_FIELDS |= {"stream", "temperature", "top_k", "top_p"}  # the last three are no longer in the SDK, but still in the API
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_BLOCKS = {
    "text": {"type", "text", "citations", "cache_control"},
    "image": {"type", "source", "cache_control"},
    "document": {"type", "source", "title", "context", "citations", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "caller", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}


def refusal(body: Mapping[str, Any]) -> Refusal | None:
    try:
        _check(body)
    except Wrong as error:
        said = {"type": "invalid_request_error", "message": f"{error.path}: {error}"}
        return Refusal(400, {"type": "error", "error": said, "request_id": "req_fake"})
    return None


def _check(body: Mapping[str, Any]) -> None:
    for name in body:
        if name not in _FIELDS:
            raise Wrong(name, "Extra inputs are not permitted")
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking["budget_tokens"] >= body["max_tokens"]:
        raise Wrong("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if thinking.get("type") in ("enabled", "adaptive"):
        if body.get("temperature") not in (None, 1):
            raise Wrong("temperature", "`temperature` may only be set to 1 when thinking is enabled.")
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            raise Wrong("tool_choice", "Thinking may not be enabled when tool_choice forces tool use.")
    for index, tool in enumerate(body.get("tools") or ()):
        if not re.fullmatch("[a-zA-Z0-9_-]{1,128}", tool.get("name") or ""):
            raise Wrong(f"tools.{index}.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    waiting: set[str] = set()
    for index, message in enumerate(body["messages"]):
        waiting = _message(f"messages.{index}", message, waiting)
    if waiting:
        raise Wrong("messages", f"`tool_use` ids were found without `tool_result` blocks: {sorted(waiting)}")


def _message(at: str, message: Mapping[str, Any], waiting: set[str]) -> set[str]:
    """Returns the IDs of calls whose results must come next."""
    if message["role"] not in ("user", "assistant"):
        raise Wrong(f"{at}.role", "Input should be 'user' or 'assistant'")
    blocks = list(_blocks(at, message["content"]))
    results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
    if results != waiting and (message["role"] == "user" or waiting):
        raise Wrong(at, f"`tool_use` and `tool_result` blocks do not match: {sorted(results ^ waiting)}")
    return {block["id"] for block in blocks if block["type"] == "tool_use"}


def _blocks(at: str, content: Any) -> Iterator[Mapping[str, Any]]:
    for number, block in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content):
        where = f"{at}.content.{number}"
        known = _BLOCKS.get(str(block.get("type")))
        if known is None:
            raise Wrong(f"{where}.type", f"Input tag '{block.get('type')}' does not match any of the expected tags")
        for name in block:
            if name not in known:
                raise Wrong(f"{where}.{block['type']}.{name}", "Extra inputs are not permitted")
        if block["type"] == "text" and not block["text"].strip():
            raise Wrong(where, "text content blocks must contain non-whitespace text")
        if block["type"] == "thinking" and not block.get("signature"):
            raise Wrong(where, "Invalid `signature` in `thinking` block")
        if block["type"] == "tool_use" and not _ID.fullmatch(block["id"]):
            raise Wrong(f"{where}.tool_use.id", "String should match pattern '^[a-zA-Z0-9_-]+$'")
        yield block
