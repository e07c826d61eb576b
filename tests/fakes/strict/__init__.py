"""Providers as strict as the real ones: what each refuses, after its API reference and public reports.

A fake plays a strict provider under `/strict/<provider>/`: its `api_base` is `base(fake.url, "groq")`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..record import Recorded
from . import anthropic, chat, gemini
from .providers import CHAT
from .refusal import Refusal

PREFIX = "/strict/"

_FORMATS: dict[str, Callable[[Mapping[str, Any]], Refusal | None]] = {
    "anthropic": anthropic.refusal,
    "gemini": gemini.refusal,
}
PROVIDERS = (*CHAT, *_FORMATS)


def base(url: str, provider: str) -> str:
    """The `api_base` in a configuration; `url`: the fake's."""
    return f"{url}{PREFIX}{provider}" + {"anthropic": "", "azure": "", "gemini": "/v1beta"}.get(provider, "/v1")


def refusal(seen: Recorded, endpoint: str) -> Refusal | None:
    """What the provider of the request's path has against it; None for paths of no strict provider."""
    if not seen.path.startswith(PREFIX) or endpoint in ("models", "count_tokens") or not isinstance(seen.body, dict):
        return None
    provider = seen.path.removeprefix(PREFIX).partition("/")[0]
    if provider in _FORMATS:
        return _FORMATS[provider](seen.body)
    return chat.refusal(CHAT[provider], seen.model or "", seen.body)


__all__ = ["PROVIDERS", "Refusal", "base", "refusal"]
