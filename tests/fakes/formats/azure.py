"""Azure OpenAI: deployments in the path, `api-version` in the query, content filters in the responses."""

import re
from typing import Any

from ..record import Recorded
from .base import Events, Match, Refusal, Setting, sse
from .openai import OpenAI

_PATH = re.compile(r".*/openai/deployments/(?P<deployment>[^/]+)/(?P<name>chat/completions|completions|embeddings)")
_ENDPOINTS = {"chat/completions": "chat", "completions": "completions", "embeddings": "embeddings"}
# The deployed model. The deployment's name does not reveal it.
DEPLOYED_MODEL = "gpt-4o-2024-11-20"
_FILTERED = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_FILTERS = [{"prompt_index": 0, "content_filter_results": _FILTERED}]


def match(path: str) -> Match | None:
    found = _PATH.fullmatch(path)
    return Match(AZURE, _ENDPOINTS[found["name"]], found["deployment"]) if found else None


class Azure(OpenAI):
    name = "azure"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.api_key:
            return Refusal(401, "Access denied due to missing subscription key.")
        if not seen.query.get("api-version"):
            return Refusal(404, "Resource not found")
        return super().refusal(seen, endpoint)

    def model(self, seen: Recorded, captured: str | None) -> str | None:
        return captured

    def answering_model(self, seen: Recorded) -> str:
        return DEPLOYED_MODEL

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": str(status), "message": message}}

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> dict[str, Any]:
        answer = super().plain(seen, endpoint, setting)
        if endpoint != "embeddings":
            answer["prompt_filter_results"] = _PROMPT_FILTERS
            for choice in answer["choices"]:
                choice["content_filter_results"] = _FILTERED
        return answer

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        events = super().events(seen, endpoint, setting)
        empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        events.head.insert(0, sse({**empty, "prompt_filter_results": _PROMPT_FILTERS}))
        return events


AZURE = Azure()
