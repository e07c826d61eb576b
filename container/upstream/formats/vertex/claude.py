"""Claude on Vertex AI: Anthropic's Messages API with the model in the address and the version in the body.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

from typing import Any

from ....config import Deployment
from ....request.completion import Completion, encode
from ..anthropic import asking, betas
from ..anthropic.models import Traits, traits
from ..format import Sent, Unsupported

VERSION = "vertex-2023-10-16"
PREFIX = "claude-"


def here(model: str) -> Traits:
    """What the model can do on Vertex AI: answers in a JSON schema come as a call there, but where none can be
    forced."""
    can = traits(model)
    return can._replace(json_schema=can.json_schema and not can.forced_tools)


def request(d: Deployment, model: str, request: Completion, *, drop_params: bool) -> Sent:
    asked = asking(d, model, here(model), request, drop_params=drop_params)
    if any(_is_address(part) for message in asked.body["messages"] for part in _parts(message)):
        raise Unsupported("messages", "Pictures and documents have to be 'data:' URLs for this model.")
    return Sent(encode({"anthropic_version": VERSION, **asked.body}), betas(d, asked.betas), asked)


def method(stream: bool) -> str:
    return "streamRawPredict" if stream else "rawPredict"


def _parts(message: dict[str, Any]) -> list[Any]:
    """What a message holds, and what the results of tools in it do."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return parts + [inner for part in parts if isinstance(part.get("content"), list) for inner in part["content"]]


def _is_address(part: dict[str, Any]) -> bool:
    """Anthropic fetches addresses itself; Vertex AI does not."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("url", "file")
