"""Claude on Vertex AI for clients of the Messages API. The request is passed through, with the model in the URL.

https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

from collections.abc import Mapping
from typing import Any

from ....config.deployment import Deployment
from ....request.completion import Completion
from ....routing.outcome import Outcome
from ...shared.format import Sent, Unsupported
from ...shared.prepare import Address
from ...vertex import Vertex
from ...vertex.claude import VERSION, refuse_addresses
from . import ToClaude
from .request import MISSED_ON_VERTEX, VERTEX, known

# Vertex AI refuses other betas. LiteLLM lists these in `anthropic_beta_headers_config.json`, and a test compares them.
BETAS = {
    name: name
    for name in (
        "compact-2026-01-12",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "dangerous-tool-use-2026-09-03",
        "inline-tools-2026-09-15",
        "interleaved-thinking-2025-05-14",
        "per-turn-control-2026-07-01",
        "thinking-binding-controls-2026-08-01",
        "thinking-display-updates-2026-08-18",
        "tool-search-tool-2025-10-19",
        "web-search-2025-03-05",
    )
} | {"advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19"}

_OPERATORS = "An instruction of the operator, not of the user:"


class ToVertexClaude(ToClaude):
    """Passes requests through to Vertex AI. `vertex` provides the project and the token, and maps errors."""

    def __init__(self, vertex: Vertex, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._vertex = vertex

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._vertex.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return self._vertex.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Raises Unsupported."""
        refuse_addresses(request.body["messages"])
        return super().request(d, model, request)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._vertex.failure(status, headers, raw)

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """Raises Unsupported."""
        for name in MISSED_ON_VERTEX:
            if request.body.get(name) and not self._drop_params:
                raise Unsupported(name, f"Vertex AI does not support '{name}'.")
        shown = known(request.body, VERTEX)
        if not isinstance(shown.get("system"), list):
            return shown
        return {**shown, "system": _without_scope(shown["system"])}

    def _messages(self, request: Completion) -> list[dict[str, Any]]:
        return [_message(message) for message in super()._messages(request)]

    def _betas(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(BETAS[beta] for beta in wanted if beta in BETAS))

    def _called(self, d: Deployment, model: str) -> Mapping[str, Any]:
        return {"anthropic_version": VERSION}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Converts system messages to user messages. Vertex AI supports only the user and assistant roles."""
    content = message.get("content")
    if isinstance(content, list):
        message = {**message, "content": _without_scope(content)}
    if message.get("role") != "system":
        return message
    said = [{"type": "text", "text": content}] if isinstance(content, str) else message.get("content") or []
    return {"role": "user", "content": [{"type": "text", "text": _OPERATORS}, *said]}


def _without_scope(blocks: list[Any]) -> list[Any]:
    """Removes `scope` from cache markers, which only Anthropic's own service supports."""
    return [_unscoped(block) if isinstance(block, dict) else block for block in blocks]


def _unscoped(block: dict[str, Any]) -> dict[str, Any]:
    marker = block.get("cache_control")
    if not isinstance(marker, dict) or "scope" not in marker:
        return block
    return {**block, "cache_control": {name: value for name, value in marker.items() if name != "scope"}}
