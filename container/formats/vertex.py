"""Vertex AI: Gemini's `generateContent` and Claude's `rawPredict`, authenticated with Google access tokens.

Claude is called by Anthropic's Messages API, with the model in the URL and the API version in the body.
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai

Access tokens are shared by all requests and renewed before they expire. google-auth handles the credential types and
the signing. It blocks, so it runs in a thread, and only the first request waits for it.
https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ..config.deployment import Deployment
from ..observability import log
from ..request.completion import Completion, encode
from ..routing.health import Outcome
from .anthropic import asking, betas
from .anthropic.answer import ChunkStream, plain
from .anthropic.models import Traits
from .anthropic.models import traits as anthropic_traits
from .gemini import FETCHES, Gemini, method
from .gemini.request import traits
from .shared import wire
from .shared.failure import shown
from .shared.wire import Events, Plain, Sent, Unreachable, Unsupported

# The location for models before Gemini 3. Later models and Claude use `global`, where earlier models are mostly
# missing.
DEFAULT_LOCATION = "us-central1"
_VERSION = "/v1"
_TUNED = re.compile(r"(?:gemini/)?(\d+)$")


class Vertex(Gemini):
    """A `Format` (container/formats/shared/wire.py). For Claude, `Sent.note` contains the Anthropic request."""

    vertex = True

    def __init__(self, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._tokens = Tokens()
        self._projects: dict[str, str] = {}  # by deployment id

    async def address(self, d: Deployment, patience: float) -> wire.Address:
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
        return wire.Address(d.base, {**wire.JSON, **opened, **d.extra_headers})

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


# Access tokens.

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# Tokens are valid for an hour. They are renewed in the background when less than this remains,
AHEAD_SECONDS = 600.0
# are no longer used when less than this remains,
MARGIN_SECONDS = 30.0
# and after a failed renewal, the next one waits this long while the old token is still usable.
PAUSE_SECONDS = 10.0
# Applies to each request to the token endpoint. google-auth makes up to three.
TIMEOUT_SECONDS = 5.0


class Token(NamedTuple):
    """An access token.

    `expires` is in seconds since the epoch, and `until` is the same time on `time.monotonic`. The earlier one counts,
    because one clock may jump and the other may stop while the machine sleeps. `project` is the project of the
    credentials, if they name one.
    """

    value: str
    expires: float
    until: float
    project: str | None

    @property
    def left(self) -> float:
        return min(self.expires - time.time(), self.until - time.monotonic())


@dataclass(slots=True)
class _Entry:
    token: Token | None = None
    renewal: asyncio.Task[Token] | None = None
    not_before: float = 0.0
    # google-auth's credentials object and the project, once loaded
    credentials: list[Any] = field(default_factory=list)


class Tokens:
    """Tokens by credentials, which are a path or JSON."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def get(self, source: str) -> Token:
        """Returns a usable token. Raises Unreachable if there is none and none can be obtained."""
        entry = self._entries.get(source)
        if entry is None:
            entry = self._entries[source] = _Entry()
        token = entry.token
        if token is not None and token.left > AHEAD_SECONDS:
            return token
        usable = token is not None and token.left > MARGIN_SECONDS
        if entry.renewal is None and (not usable or time.monotonic() >= entry.not_before):
            entry.renewal = asyncio.create_task(_renew(source, entry))
            entry.renewal.add_done_callback(_heard)
        if token is not None and usable:
            return token
        assert entry.renewal is not None, "without a token there is a renewal"
        # The client that started the renewal may disconnect.
        return await asyncio.shield(entry.renewal)


async def _renew(source: str, entry: _Entry) -> Token:
    try:
        entry.token = await asyncio.to_thread(_fetch, source, entry)
        return entry.token
    except Unreachable:
        entry.not_before = time.monotonic() + PAUSE_SECONDS
        raise
    finally:
        entry.renewal = None


def _heard(task: "asyncio.Task[Token]") -> None:
    """Logs the failure of a background renewal, which nothing else may retrieve."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("google_token_failed", reason=str(error))


def _fetch(source: str, entry: _Entry) -> Token:
    """Fetches a token. Runs in a thread. google-auth is imported here because the import takes as long as starting the
    proxy.
    """
    from google.auth import exceptions

    try:
        if not entry.credentials:
            entry.credentials = _load(source)
        credentials, project = entry.credentials
        credentials.refresh(_post)
        # `expiry` is in UTC but not timezone-aware.
        expires = credentials.expiry.replace(tzinfo=UTC).timestamp()
        return Token(credentials.token, expires, time.monotonic() + expires - time.time(), project)
    except exceptions.TransportError:
        raise Unreachable(Outcome("connection", 0, "Google's token endpoint cannot be reached.")) from None
    except exceptions.GoogleAuthError as error:
        if error.retryable:
            raise Unreachable(Outcome("server", 0, "Google's token endpoint is unavailable.")) from None
        log.warning("google_refused_credentials", reason=shown(str(error)))
        raise Unreachable(Outcome("authentication", 0, "Google refused this gateway's credentials.")) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("google_credentials_unusable", error=type(error).__name__)
        raise Unreachable(Outcome("authentication", 0, "This gateway's Google credentials cannot be used.")) from None


def _load(source: str) -> list[Any]:
    """Loads google-auth's credentials and their project. Raises google-auth's errors, OSError and ValueError."""
    import google.auth
    from google.oauth2 import credentials, service_account

    text = source.strip()
    info = json.loads(text if text.startswith("{") else Path(text).read_text(encoding="utf-8"))
    project = info.get("project_id") or info.get("quota_project_id")
    if info.get("type") == "service_account":
        return [service_account.Credentials.from_service_account_info(info, scopes=[SCOPE]), project]
    if info.get("type") == "authorized_user":
        return [credentials.Credentials.from_authorized_user_info(info, scopes=[SCOPE]), project]
    if not isinstance(info.get("type"), str):
        raise ValueError("The credentials have no type.")
    # Workload identity and similar. The operator provides the file, so the URLs in it are trusted.
    found, named = google.auth.load_credentials_from_dict(info, scopes=[SCOPE])
    return [found, project or named]


class _Response(NamedTuple):
    """The part of a response that google-auth reads."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _post(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
) -> _Response:
    """A google-auth transport based on the standard library, which avoids another HTTP client dependency.

    Raises TransportError if the server does not respond.
    """
    from google.auth import exceptions

    if not url.startswith(("https://", "http://")):
        raise exceptions.TransportError("The credentials' token_uri is not an http(s) address.")
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 it is http(s)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 the same
            return _Response(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _Response(refusal.code, dict(refusal.headers), refusal.read())
    except (OSError, http.client.HTTPException) as error:
        raise exceptions.TransportError(error) from error
