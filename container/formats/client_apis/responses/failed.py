"""The events with which a stream of the Responses API ends after a failure.

https://platform.openai.com/docs/api-reference/responses-streaming/response/failed
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from ....routing.outcome import Outcome
from .head import blank

# The codes that OpenAI's schema has for these kinds of failure. All others are a `server_error`.
_CODES = {"rate_limit": "rate_limit_exceeded", "content_policy": "invalid_prompt"}


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def events(response: Mapping[str, Any], outcome: Outcome, number: int) -> bytes:
    """`response.failed` and `error`. OpenAI's SDKs raise an exception for the latter.

    `response` is the response so far, or empty if there is none. `number` is the next sequence number.
    """
    code = _CODES.get(outcome.kind, "server_error")
    error = {"code": code, "message": outcome.message}
    whole = {**(response or blank("", time.time())), "status": "failed", "error": error}
    shown = {**error, "param": outcome.param}
    return event("response.failed", {"response": whole, "sequence_number": number}) + event(
        "error", {**shown, "error": {"type": "server_error", **shown}, "sequence_number": number + 1}
    )
