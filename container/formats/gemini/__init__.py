"""Gemini's `generateContent` API at Google AI Studio."""

import time
from collections.abc import Mapping
from urllib.parse import quote

from ...config.deployment import Deployment
from ...request.completion import Completion, encode
from ...routing.health import Outcome
from ..shared import wire
from ..shared.capabilities import capabilities
from ..shared.wire import Events, Malformed, Plain, Sent
from .answer import GeminiEvents, from_response, plain
from .request import body, traits

HOME = "https://generativelanguage.googleapis.com/v1beta"
# Google serves the new features of Gemini 3 here, including the resolution of individual images.
_HOME_OF_NEW = "https://generativelanguage.googleapis.com/v1alpha"
# The `Sent.note` of a request that lets Gemini fetch web pages.
FETCHES = object()


class Gemini:
    """A `Format` (container/formats/shared/wire.py)."""

    vertex = False

    def __init__(self, *, drop_params: bool) -> None:
        self._drop_params = drop_params
        self._addresses = wire.Addresses(_address)

    async def address(self, d: Deployment, patience: float) -> wire.Address:
        return self._addresses.of(d)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        if base == HOME and traits(model, vertex=False).resolution_of_parts:
            base = _HOME_OF_NEW
        return f"{base}/models/{quote(model, safe='')}:{method(stream)}"

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        fields = wire.merge(d, capabilities(d, model), request.body, request)
        can = traits(model, vertex=self.vertex)
        try:
            said = body(fields, can, drop_params=self._drop_params)
        except (AttributeError, KeyError, TypeError) as error:
            # Values of unexpected types, deep inside messages or tools.
            message = "The request cannot be translated for Gemini: check messages and tools."
            raise Malformed("messages", message) from error
        return Sent(
            encode(said), note=FETCHES if any("urlContext" in tool for tool in said.get("tools") or ()) else None
        )

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        return None

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return plain(raw, name, int(time.time()), fetches=sent.note is FETCHES)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        fetches = sent.note is FETCHES
        return GeminiEvents(name, int(time.time()), wants_usage=request.client_wants_usage, fetches=fetches)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return from_response(status, headers, raw)


def method(stream: bool) -> str:
    """The method in the URL, with the parameter that selects server-sent events."""
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def _address(d: Deployment) -> wire.Address:
    # The key goes into a header because URLs end up in logs.
    key = {"x-goog-api-key": d.api_key} if d.api_key else {}
    return wire.Address(d.base, {**wire.JSON, **key, **d.extra_headers})
