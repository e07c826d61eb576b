"""Claude on Vertex AI: Anthropic's Messages API with the model in the URL and the API version in the body.

https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
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
    """The model's traits on Vertex AI, where JSON schemas are enforced with a forced tool call if possible."""
    can = traits(model)
    return can._replace(json_schema=can.json_schema and not can.forced_tools)


def request(d: Deployment, model: str, request: Completion, *, drop_params: bool) -> Sent:
    asked = asking(d, model, here(model), request, drop_params=drop_params)
    refuse_addresses(asked.body["messages"])
    return Sent(encode({"anthropic_version": VERSION, **asked.body}), betas(d, asked.betas), asked)


def refuse_addresses(messages: list[dict[str, Any]]) -> None:
    """Raises Unsupported if the messages contain URLs. Anthropic fetches them, but Vertex AI does not."""
    if any(_is_address(part) for message in messages for part in _parts(message)):
        raise Unsupported("messages", "For this model, images and documents have to be 'data:' URLs.")


def method(stream: bool) -> str:
    return "streamRawPredict" if stream else "rawPredict"


def _parts(message: dict[str, Any]) -> list[Any]:
    """The content parts of a message, including those inside tool results."""
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    inner = [each for part in parts if isinstance(part.get("content"), list) for each in part["content"]]
    return parts + [each for each in inner if isinstance(each, dict)]


def _is_address(part: dict[str, Any]) -> bool:
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("url", "file")
