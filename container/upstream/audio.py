"""Sends transcriptions and translations directly to the provider.

LiteLLM's proxy would convert every response to JSON, does not stream transcriptions, and does not support translations.
https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from typing import Any

import orjson

from ..config.deployment import Deployment
from ..formats.shared import refusals
from ..routing.outcome import Outcome

ENDPOINTS = frozenset(("transcription", "translation"))
# Providers with OpenAI-compatible audio endpoints at the same base URL.
_PROVIDERS = frozenset(
    ("openai", "azure", "groq", "hosted_vllm", "mistral", "custom_openai", "openai_like", "lm_studio")
)
_TYPES = {"text": "text/plain; charset=utf-8", "srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}
_CUES = " --> "


def called_directly(d: Deployment, endpoint: str) -> bool:
    return endpoint in ENDPOINTS and d.kind == "direct" and d.provider in _PROVIDERS


def refused(endpoint: str) -> Outcome | None:
    """The failure for an endpoint that the engine does not support."""
    if endpoint != "translation":
        return None
    return Outcome("unsupported", 400, "This model does not support audio translation.", param="model")


def judged(outcome: Outcome) -> Outcome:
    """Turns a missing endpoint into `unsupported`, because the server is otherwise fine."""
    if outcome.kind != "not_found" or refusals.says_no_such_model(outcome.code or "", outcome.message.lower()):
        return outcome
    return Outcome("unsupported", 400, "This model's server does not have this audio endpoint.", param="model")


def as_text(raw: bytes, wanted: str | None) -> tuple[bytes, str] | None:
    """Unwraps the text that the engine put into JSON, with its media type. None if it is not text in the `wanted`
    format.
    """
    if wanted not in _TYPES:
        return None
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str) or (wanted != "text" and _CUES not in text):
        return None
    return text.encode(), _TYPES[wanted]
