"""Providers as strict as the real ones: their errors follow the API references and public reports.

A fake serves a strict provider under `/strict/<provider>/`. Its `api_base` is `base(fake.url, "groq")`.
"""

from ..record import Recorded
from . import chat
from .providers import CHAT
from .refusal import Refusal

PREFIX = "/strict/"

_FORMATS_OF_THEIR_OWN = ("anthropic", "gemini")
PROVIDERS = (*CHAT, *_FORMATS_OF_THEIR_OWN)


def base(url: str, provider: str) -> str:
    """The `api_base` for a config. `url` is the fake's."""
    return f"{url}{PREFIX}{provider}" + {"anthropic": "", "azure": "", "gemini": "/v1beta"}.get(provider, "/v1")


def refusal(seen: Recorded, endpoint: str) -> Refusal | None:
    """The provider's error for the request, or None if the path belongs to no strict provider."""
    if not seen.path.startswith(PREFIX) or endpoint in ("models", "count_tokens") or not isinstance(seen.body, dict):
        return None
    provider = seen.path.removeprefix(PREFIX).partition("/")[0]
    if provider == "chat_only" and endpoint != "chat":
        return Refusal(404, {"detail": "Not Found"})
    if endpoint == "responses":
        return None  # the format itself is strict
    if provider in _FORMATS_OF_THEIR_OWN:
        from . import anthropic, gemini  # on first use, because the image lacks Anthropic's SDK

        return {"anthropic": anthropic, "gemini": gemini}[provider].refusal(seen.body)
    return chat.refusal(CHAT[provider], seen.model or "", seen.body)


__all__ = ["PROVIDERS", "Refusal", "base", "refusal"]
