"""Google's access tokens: got once, shared by all requests, and renewed before they expire.

google-auth knows the credentials' kinds and signs; it blocks, so it works in a thread, and no request waits for it but
the first. Source: https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

from ...observability import log
from ...routing.outcome import Outcome
from ..shared.failure import shown
from ..shared.format import Unreachable

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# Tokens live for an hour. Renewed in the background this long before their end,
AHEAD_SECONDS = 600.0
# not used any more this long before it,
MARGIN_SECONDS = 30.0
# and after a failure left alone for so long while the old one still does.
PAUSE_SECONDS = 10.0
# Of each try at the token endpoint; google-auth makes up to three.
TIMEOUT_SECONDS = 5.0


class Token(NamedTuple):
    """`expires`: seconds since the epoch, and `until` the same on `time.monotonic`: of two clocks, one of which may
    jump and the other sleep with the machine, the earlier counts. `project`: the one that the credentials belong to,
    where they say so."""

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
    credentials: list[Any] = field(default_factory=list)  # google-auth's object and the project, once loaded


class Tokens:
    """By their credentials: a path or the JSON itself."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def get(self, source: str) -> Token:
        """Raises Unreachable when there is no token and none can be got."""
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
        # Shielded: the client that asked first may leave.
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
    """Nobody may be waiting for a renewal in the background: its failure is logged, and not lost."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("google_token_failed", reason=str(error))


def _fetch(source: str, entry: _Entry) -> Token:
    """In a thread: google-auth is imported here because that takes as long as the start of the whole proxy."""
    from google.auth import exceptions

    try:
        if not entry.credentials:
            entry.credentials = _load(source)
        credentials, project = entry.credentials
        credentials.refresh(_post)
        # `expiry` is UTC without saying so.
        expires = credentials.expiry.replace(tzinfo=UTC).timestamp()
        return Token(credentials.token, expires, time.monotonic() + expires - time.time(), project)
    except exceptions.TransportError:
        raise Unreachable(Outcome("connection", 0, "Google's token endpoint cannot be reached.")) from None
    except exceptions.GoogleAuthError as error:
        if error.retryable:
            raise Unreachable(Outcome("server", 0, "Google's token endpoint is out of order.")) from None
        log.warning("google_refused_credentials", reason=shown(str(error)))
        raise Unreachable(Outcome("authentication", 0, "Google refused this gateway's credentials.")) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("google_credentials_unusable", error=type(error).__name__)
        raise Unreachable(Outcome("authentication", 0, "This gateway's Google credentials cannot be used.")) from None


def _load(source: str) -> list[Any]:
    """google-auth's credentials and their project. Raises what it raises, OSError and ValueError among it."""
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
    # Workload identity and its like: the operator's own file, so what it names is trusted.
    found, named = google.auth.load_credentials_from_dict(info, scopes=[SCOPE])
    return [found, project or named]


class _Response(NamedTuple):
    """What google-auth reads of an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _post(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
) -> _Response:
    """google-auth's transport over the standard library, for its own wants a client that nothing else here does.

    Raises TransportError when nobody answers."""
    from google.auth import exceptions

    if not url.startswith(("https://", "http://")):
        raise exceptions.TransportError("The credentials' token_uri is no http(s) address.")
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 it is http(s)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 the same
            return _Response(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _Response(refusal.code, dict(refusal.headers), refusal.read())
    except (OSError, http.client.HTTPException) as error:
        raise exceptions.TransportError(error) from error
