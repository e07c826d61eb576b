"""The wire formats, and the choice of one by path."""

from functools import lru_cache

from . import anthropic, audio, azure, gemini, google_token, openai, vertex_claude
from .base import Events, Format, Match, Refusal, Setting

# The order matters: Azure's paths end like OpenAI's.
_MATCHERS = (
    audio.match,
    azure.match,
    gemini.match,
    anthropic.match,
    vertex_claude.match,
    google_token.match,
    openai.match,
)


@lru_cache(maxsize=1024)
def find(path: str) -> Match | None:
    """The format for `path`, under any prefix."""
    return next((match for matcher in _MATCHERS if (match := matcher(path))), None)


__all__ = ["Events", "Format", "Match", "Refusal", "Setting", "find"]
