"""Gemini's API for clients.

Requests for Gemini are passed through (native.py). For other models they are translated to chat completions, or to
OpenAI's embeddings, and tokens are counted here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.core.pricing.charge import GOOGLES_COUNT, GOOGLES_EMBEDDINGS

from ....config.deployment import Deployment
from ....request.completion import Completion
from ...shared import mock
from ...shared.answer import Answer, Events, Plain
from ...shared.format import Malformed
from .. import over_chat
from ..over_chat import CHAT
from .answer import ContentEvents, response
from .counting import counted
from .embeddings import OverEmbeddings, translated, vectors
from .native import ToGemini
from .request import SAMPLING, chat

__all__ = ["ENDPOINTS", "TRANSLATED", "OverEmbeddings", "ToGemini", "counted", "mocked"]

ENDPOINTS = frozenset(("generate_content", GOOGLES_COUNT)) | GOOGLES_EMBEDDINGS
# Derived from fields that Gemini's clients send to every model, so they are dropped if a server refuses them.
_GUIDING = ("reasoning_effort", *SAMPLING)


def mocked(d: Deployment, request: Completion, name: str) -> Answer:
    """The response of a mock model. Raises Unsupported."""
    if request.endpoint == GOOGLES_COUNT:
        return counted(d, d.model, request)
    if request.endpoint in GOOGLES_EMBEDDINGS:
        made = mock.answer(d, translated(request), name)
        return vectors(made, batch="requests" in request.body) if isinstance(made, Plain) else made
    return over_chat.mocked(TRANSLATED, d, request, name)


class _Translated:
    """An `Api` (over_chat.py)."""

    def chat(self, request: Completion, d: Deployment, model: str, *, drop_params: bool) -> tuple[Completion, None]:
        try:
            body = chat(request.body, d, model, drop_params=drop_params)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise Malformed(
                "contents", "The request is not valid for Gemini's API: check contents and tools."
            ) from error
        if request.stream:
            body["stream"] = True
        optional = tuple(name for name in _GUIDING if name in body)
        return replace(request, endpoint=CHAT, body=body, client_wants_usage=False, optional=optional), None

    def response(self, body: Mapping[str, Any], name: str, asked: None) -> dict[str, Any]:
        return response(body, name)

    def events(self, inner: Events, name: str, asked: None) -> Events:
        return ContentEvents(inner, name)


TRANSLATED = _Translated()
