"""Claude on Vertex AI: Anthropic's Messages API with the model in the path and the version in the body.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

import re

from ..record import Recorded
from .anthropic import Anthropic
from .base import Match, Refusal

_PATH = re.compile(r".*/publishers/anthropic/models/(?P<model>[^/:]+):(?P<method>rawPredict|streamRawPredict)")
VERSION = "vertex-2023-10-16"


def match(path: str) -> Match | None:
    found = _PATH.fullmatch(path)
    return Match(VERTEX_CLAUDE, found["method"], found["model"]) if found else None


class VertexClaude(Anthropic):
    name = "vertex_claude"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.headers.get("authorization", "").startswith("Bearer "):
            return Refusal(401, "Request is missing required authentication credential.")
        if not isinstance(seen.body, dict):
            return Refusal(400, "The request body is not valid JSON")
        if seen.body.get("anthropic_version") != VERSION:
            return Refusal(400, "anthropic_version: Field required")
        if "model" in seen.body:
            return Refusal(400, "model: Extra inputs are not permitted")
        missing = next((name for name in ("messages", "max_tokens") if not seen.body.get(name)), None)
        return Refusal(400, f"{missing}: Field required") if missing else None

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return endpoint == "streamRawPredict"

    def model(self, seen: Recorded, captured: str | None) -> str | None:
        return captured


VERTEX_CLAUDE = VertexClaude()
