"""Claude on Vertex AI: Anthropic's Messages API with the model in the address and the version in the body.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

from typing import Any

from ...config.deployment import Deployment
from ...request.completion import Completion, encode
from ..anthropic import asking, betas
from ..anthropic.models import Traits, traits
from ..shared.format import Sent, Unsupported

VERSION = "vertex-2023-10-16"
PREFIX = "claude-"


def here(model: str) -> Traits:
    """What the model can do on Vertex AI: answers in a JSON schema come as a call there, but where none can be
    forced."""
    can = traits(model)
    return can._replace(json_schema=can.json_schema and not can.forced_tools)


def request(d: Deployment, model: str, request: Completion, *, drop_params: bool) -> Sent:
    asked = asking(d, model, here(model), request, drop_params=drop_params)
    refuse_addresses(asked.body["messages"])
    return Sent(encode({"anthropic_version": VERSION, **asked.body}), betas(d, asked.betas), asked)


def refuse_addresses(messages: list[dict[str, Any]]) -> None:
    """Anthropic fetches addresses itself; Vertex AI does not. Raises Unsupported."""
    if any(_is_address(part) for message in messages for part in _parts(message)):
        raise Unsupported("messages", "Pictures and documents have to be 'data:' URLs for this model.")


def method(stream: bool) -> str:
    return "streamRawPredict" if stream else "rawPredict"


def _parts(message: dict[str, Any]) -> list[Any]:
    """What a message holds, and what the results of tools in it do."""
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    inner = [each for part in parts if isinstance(part.get("content"), list) for each in part["content"]]
    return parts + [each for each in inner if isinstance(each, dict)]


def _is_address(part: dict[str, Any]) -> bool:
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("url", "file")
