"""What a provider's refusal means: a status, headers and a body in, an Outcome out."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from ..routing.outcome import Kind, Outcome

_SHOWN = 500
_STATUS = re.compile("[45][0-9]{2}")
# Headers by which a provider says how much is left and when to come again.
_PASSED_ON = ("retry-after", "retry-after-ms")
_PASSED_ON_PREFIX = "x-ratelimit-"
# The engine hands its provider's headers on with this before their names,
_ENGINE_PREFIX = "llm_provider-"
# and adds to messages what it knows the deployment by.
_ENGINE_ADDS = re.compile(r"\n\nLiteLLM: .*|[.\s]*Received Model Group=.*", re.DOTALL)

_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length", "context_window_exceeded"}
_CONTEXT_PHRASES = (
    "maximum context length",
    "context window",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "contextwindowexceeded",
    "exceeds the maximum number of tokens",
)
_POLICY_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"}
_POLICY_PHRASES = ("content management policy", "contentpolicyviolation", "safety system", "content_policy")
# What providers call a field, or a value of it, that they do not have; LiteLLM says so in its message.
UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_UNSUPPORTED_PHRASE = "unsupportedparamserror"
_CREDENTIAL_CODES = {"invalid_api_key", "api_key_invalid", "authentication_error"}
_CREDENTIAL_PHRASES = ("incorrect api key", "invalid api key", "api key not valid", "invalid x-api-key")
# What looks like a key: a provider's prefix and more, or a long run of letters and digits.
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|rk|gsk|csk|xai|pplx|nvapi|r8|hf|tgp|fw)[-_](?=[A-Za-z_-]*[0-9*])[A-Za-z0-9_*-]{8,}"
    r"|AIza[A-Za-z0-9_-]{20,}|A[KS]IA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_.-]{20,}"
    r"|[A-Za-z0-9]{32,})"
)
_IN_ADDRESS = re.compile(
    r"(?<=://)[^\s/@]{1,500}@|(?<=[?&])([\w-]{0,40}?(?:key|token|secret|password|sig)[\w-]{0,40}=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_CALLER = frozenset({400, 409, 413, 415, 422})


def from_response(status: int, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Outcome:
    """The outcome of an answer that is not 200. `now`: seconds since the epoch, for dates in `Retry-After`."""
    error = error_fields(raw)
    code, param = _text(error.get("code")), _text(error.get("param"))
    message = _text(error.get("message")) or f"The provider answered with status {status}."
    kind = _kind(status, (code or "").lower(), (_text(error.get("type")) or "").lower(), message.lower())
    said = {name.lower().removeprefix(_ENGINE_PREFIX): value for name, value in headers.items()}
    passed = [(n, value) for n, value in said.items() if n in _PASSED_ON or n.startswith(_PASSED_ON_PREFIX)]
    return Outcome(
        kind,
        status,
        credentials_refused(status) if kind == "authentication" else shown(message),
        retry_after=retry_after(said, time.time() if now is None else now),
        code=code,
        param=param,
        headers=tuple(passed),
    )


def from_error_event(error: Mapping[str, Any]) -> Outcome:
    """The outcome of an answer with status 200 that is an error, or a stream whose first event is one."""
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 0
    if isinstance(code, str) and _STATUS.fullmatch(code):
        status = int(code)
    message = _text(error.get("message")) or "The provider answered with an error."
    kind = _kind(status or 500, str(code or "").lower(), (_text(error.get("type")) or "").lower(), message.lower())
    message = credentials_refused(status) if kind == "authentication" else shown(message)
    return Outcome(kind, status, message, code=_text(code), param=_text(error.get("param")))


def shown(message: str) -> str:
    """A provider's message, fit for the client: short, and without what looks like a key."""
    return hide_secrets(_ENGINE_ADDS.sub("", message[: 4 * _SHOWN]))[:_SHOWN]


def hide_secrets(text: str) -> str:
    """The text without what looks like a key, and without the user, the password and the keys of an address."""
    return _SECRET.sub("***", _IN_ADDRESS.sub(lambda found: f"{found[1]}***" if found[1] else "***@", text))


def credentials_refused(status: int) -> str:
    return "The provider refused this gateway's credentials" + (f" (status {status})." if status else ".")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the provider asks us to wait, or None. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after"""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _kind(status: int, code: str, type: str, message: str) -> Kind:
    if status in (401, 403, 407):
        if code in _POLICY_CODES or type in _POLICY_CODES:
            return "content_policy"
        return "authentication"
    if status == 404:
        return "not_found"
    if status == 429:
        return "rate_limit"
    if status in (408, 504):
        return "timeout"
    if status in _CALLER:
        if code in _CONTEXT_CODES or type in _CONTEXT_CODES or any(p in message for p in _CONTEXT_PHRASES):
            return "context_window"
        if code in _POLICY_CODES or type in _POLICY_CODES or any(p in message for p in _POLICY_PHRASES):
            return "content_policy"
        if code in _CREDENTIAL_CODES or type in _CREDENTIAL_CODES or any(p in message for p in _CREDENTIAL_PHRASES):
            return "authentication"
        return "unsupported" if code in UNSUPPORTED_CODES or _UNSUPPORTED_PHRASE in message else "caller"
    if code in ("rate_limit_exceeded", "insufficient_quota") or type == "rate_limit_error":
        return "rate_limit"
    return "server"


def error_fields(raw: bytes) -> dict[str, Any]:
    """What a refusal says: `{"error": {…}}`, `{"error": "text"}`, `{"message": …}`, `{"detail": …}`; empty for anything
    else."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    error = body.get("error", body)
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    if "message" not in error and isinstance(error.get("detail"), str):
        return {**error, "message": error["detail"]}
    return error


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
