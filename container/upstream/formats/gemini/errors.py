"""Gemini's refusals: an error's status and details, or a blocked prompt, as an Outcome.

`{"error": {"code": 429, "message", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "….RetryInfo", …}]}}`
Sources: https://ai.google.dev/gemini-api/docs/troubleshooting, https://cloud.google.com/apis/design/errors
"""

import math
from collections.abc import Mapping
from typing import Any

from ....routing.outcome import Outcome
from ... import failure
from ...error_body import says_error, words
from ...refusal_words import says_of_key

_RETRY = "google.rpc.RetryInfo"
_REASON = "google.rpc.ErrorInfo"
_OF_ANSWERS = ("candidates", "promptFeedback", "usageMetadata", "responseId", "modelVersion")
# A 400 that is about this gateway's key or account.
_OURS = frozenset(("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "SERVICE_DISABLED", "BILLING_DISABLED"))


def from_response(status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
    """An answer that is not 200."""
    outcome = failure.from_response(status, headers, raw)
    error = failure.error_fields(raw)
    listed = error.get("details")
    details = [d for d in listed if isinstance(d, dict)] if isinstance(listed, list) else []
    if outcome.kind == "caller" and (
        # A file that is not ready is one, too.
        (error.get("status") == "FAILED_PRECONDITION" and says_of_key("", "", outcome.message.lower()))
        or any(str(d.get("reason")) in _OURS for d in _of_type(details, _REASON))
    ):
        outcome = Outcome("authentication", status, failure.credentials_refused(status))
    wait = next((_seconds(d.get("retryDelay")) for d in _of_type(details, _RETRY)), None)
    if wait is None or outcome.retry_after is not None:
        return outcome
    return outcome._replace(retry_after=wait, headers=(*outcome.headers, ("retry-after", str(math.ceil(wait)))))


def instead_of_answer(said: Mapping[str, Any]) -> Outcome | None:
    """What an answer with status 200, or the first event of a stream, refuses: an error, or the prompt."""
    if says_error(said):
        return failure.from_error_event(said)
    if not any(name in said for name in _OF_ANSWERS) and words(said):
        return failure.from_error_event(said)
    feedback = said.get("promptFeedback")
    if not isinstance(feedback, dict) or not feedback.get("blockReason") or said.get("candidates"):
        return None
    why = feedback.get("blockReasonMessage") or f"The prompt was blocked ({feedback['blockReason']})."
    return Outcome("content_policy", 400, failure.shown(str(why)), code="content_filter", param="messages")


def _of_type(details: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [d for d in details if str(d.get("@type")).endswith(name)]


def _seconds(text: Any) -> float | None:
    """`"34.07s"`, how Google writes a duration."""
    try:
        seconds = float(str(text).removesuffix("s"))
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
