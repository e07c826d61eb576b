"""Vertex AI: Gemini's `generateContent` and Claude's `rawPredict`, authenticated with Google access tokens.

Claude is called by Anthropic's Messages API, with the model in the URL and the API version in the body.
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

import re
from typing import Any
from urllib.parse import quote, urlsplit

from ...config.deployment import Deployment
from ...request.completion import Completion, encode
from ...routing.health import Outcome
from ..anthropic import asking, betas
from ..anthropic.answer import ChunkStream, plain
from ..anthropic.models import Traits
from ..anthropic.models import traits as anthropic_traits
from ..gemini import FETCHES, Gemini, method
from ..gemini.request import traits
from ..shared import prepare
from ..shared.answer import Events, Plain
from ..shared.format import Sent, Unreachable, Unsupported
from .tokens import Tokens

# The location for models before Gemini 3. Later models and Claude use `global`, where earlier models are mostly
# missing.
DEFAULT_LOCATION = "us-central1"
_VERSION = "/v1"
_TUNED = re.compile(r"(?:gemini/)?(\d+)$")


class Vertex(Gemini):
    """A `Format` (container/formats/shared/format.py). For Claude, `Sent.note` contains the Anthropic request."""

    vertex = True

    def __init__(self, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._tokens = Tokens()
        self._projects: dict[str, str] = {}  # by deployment id

    async def address(self, d: Deployment, patience: float) -> prepare.Address:
        assert d.vertex is not None, "a deployment of Vertex AI has its settings"
        project, opened = d.vertex.project, {}
        if d.vertex.credentials:
            token = await self._tokens.get(d.vertex.credentials)
            project = project or token.project
            opened = {"authorization": f"Bearer {token.value}"}
        if not project:
            message = "No Vertex AI project is configured: set vertex_project."
            raise Unreachable(Outcome("authentication", 0, message))
        self._projects[d.id] = project
        return prepare.Address(d.base, {**prepare.JSON, **opened, **d.extra_headers})

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        assert d.vertex is not None, "a deployment of Vertex AI has its settings"
        called = claude_method(stream) if is_claude(model) else method(stream)
        return url(base, self._projects[d.id], d.vertex.location, model, called)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if is_claude(model):
            return claude_request(d, model, request, drop_params=self._drop_params)
        return super().request(d, model, request)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        claudes = sent.note and sent.note is not FETCHES
        return plain(raw, name, sent.note) if claudes else super().plain(raw, name, sent)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        if sent.note and sent.note is not FETCHES:
            return ChunkStream(name, sent.note, wants_usage=request.client_wants_usage)
        return super().events(name, request, sent)


def url(base: str, project: str, location: str | None, model: str, method: str) -> str:
    """The URL of a model. https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations

    As in LiteLLM, a configured `base` with a path is taken for a proxy that already knows the model.
    """
    new = is_claude(model) or traits(model, vertex=True).call_ids
    location = location or ("global" if new else DEFAULT_LOCATION)
    path = f"/projects/{quote(project)}/locations/{location}/{_resource(model)}:{method}"
    if not base:
        return f"https://{host(location)}{_VERSION}{path}"
    own = urlsplit(base).path
    if own in ("/v1", "/v1beta1"):
        return base + path
    return f"{base}:{method}" if own else f"{base}{_VERSION}{path}"


def host(location: str) -> str:
    """The host of a region (`europe-west4`), a multi-region (`eu`) or `global`."""
    if location == "global":
        return "aiplatform.googleapis.com"
    return f"{location}-aiplatform.googleapis.com" if "-" in location else f"aiplatform.{location}.rep.googleapis.com"


def _resource(model: str) -> str:
    tuned = _TUNED.match(model)
    if tuned:
        return f"endpoints/{tuned[1]}"
    publisher = "anthropic" if is_claude(model) else "google"
    return f"publishers/{publisher}/models/{quote(model.removeprefix('gemini/'), safe='@')}"


def is_claude(model: str) -> bool:
    return model.startswith(_CLAUDE)


# Claude.

CLAUDE_VERSION = "vertex-2023-10-16"
_CLAUDE = "claude-"


def claude_traits(model: str) -> Traits:
    """The model's traits on Vertex AI, where JSON schemas are enforced with a forced tool call if possible."""
    can = anthropic_traits(model)
    return can._replace(json_schema=can.json_schema and not can.forced_tools)


def claude_request(d: Deployment, model: str, request: Completion, *, drop_params: bool) -> Sent:
    asked = asking(d, model, claude_traits(model), request, drop_params=drop_params)
    refuse_addresses(asked.body["messages"])
    return Sent(encode({"anthropic_version": CLAUDE_VERSION, **asked.body}), betas(d, asked.betas), asked)


def refuse_addresses(messages: list[dict[str, Any]]) -> None:
    """Raises Unsupported if the messages contain URLs. Anthropic fetches them, but Vertex AI does not."""
    if any(_is_address(part) for message in messages for part in _parts(message)):
        raise Unsupported("messages", "For this model, images and documents have to be 'data:' URLs.")


def claude_method(stream: bool) -> str:
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
