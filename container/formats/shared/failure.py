"""Maps a provider's error response (status, headers, body) to an Outcome.

The body becomes a dict with `message`, `code`, `type` and `param`. Known shapes:

{"error": {"message": …}}   {"error": "…"}   {"error": […]}   {"errors": […]}   {"message": …}   {"detail": …}
{"message": {"detail": [{"loc": […], "msg": …}]}}      Mistral, FastAPI
{"error": {"message": "Provider returned error", "metadata": {"raw": "…"}}}      OpenRouter
{"base_resp": {"status_code": 1008, "status_msg": …}}      MiniMax
plain text, an HTML page
"""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.core.api.errors import upstream_failed

from ...observability.log import hide_secrets
from ...routing.health import Kind, Outcome
from . import refusals

_SHOWN = 500
_STATUS = re.compile("[45][0-9]{2}")
# Headers with rate limits and retry delays.
_PASSED_ON = ("retry-after", "retry-after-ms")
_PASSED_ON_PREFIX = "x-ratelimit-"
# The engine prefixes its provider's headers with this
_ENGINE_PREFIX = "llm_provider-"
# and appends its own details to messages.
_ENGINE_ADDS = ("\n\nLiteLLM: ", "Received Model Group=", "\nTraceback (most recent call last)")

# Provider codes for an unsupported field or value. LiteLLM puts this in the message instead.
UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_UNSUPPORTED_PHRASE = "unsupportedparamserror"
_CREDENTIAL_CODES = {"invalid_api_key", "api_key_invalid", "authentication_error"}
# Only at the beginning. Further on, a message may quote the client's input.
_CREDENTIALS = re.compile(
    r"(?:error: |litellm\.\w+: )?(?:\w+exception ?- )?"
    r"(?:incorrect api key|invalid api key|api key not valid|invalid x-api-key)"
)
# HTTP statuses for error types that arrive with status 200 or in a stream.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "invalid_argument": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "notfounderror": 404,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "ratelimiterror": 429,
    "too_many_requests": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_CALLER = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 417, 422, 428, 431})
_FLEX_CAPACITY = 498  # Groq's status for a service tier that is at capacity


def from_response(status: int, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Outcome:
    """The outcome of a response whose status is not 200. `now` is in seconds since the epoch, for dates in
    `Retry-After`.
    """
    said = {name.lower().removeprefix(_ENGINE_PREFIX): value for name, value in headers.items()}
    passed = [(n, value) for n, value in said.items() if n in _PASSED_ON or n.startswith(_PASSED_ON_PREFIX)]
    return _outcome(
        error_fields(raw),
        status,
        f"The provider answered with status {status}.",
        retry_after=retry_after(said, time.time() if now is None else now),
        headers=tuple(passed),
    )


def from_error_event(error: Any) -> Outcome:
    """The outcome of an error that arrives with status 200 or as an event.

    `error` is the entire body or its `error` field, in any shape (container/formats/shared/failure.py).
    """
    fields = fields_of(error)
    return _outcome(fields, _status_in(fields), "The provider answered with an error.")


def error_event(failed: Outcome) -> bytes:
    """An event in OpenAI's format that reports a failure in the middle of a response."""
    return b"data: " + orjson.dumps(upstream_failed(502, failed.message).fields()) + b"\n\n"


def _outcome(fields: Mapping[str, Any], status: int, default: str, **more: Any) -> Outcome:
    """Builds the outcome. `status` is 0 if the provider gave none."""
    code, param, type = (_text(fields.get(name)) for name in ("code", "param", "type"))
    message = shown(_text(fields.get("message")) or "")
    type = (type or _text(fields.get("error_type")) or "").lower()
    implied = status or _STATUS_OF_TYPE.get(type) or 500
    said = Said(implied, (code or "").lower(), type, (param or "").lower(), message.lower())
    kind = _filtered_by_openrouter(fields) or _kind(said)
    blameless = _is_blameless(said, kind, page=fields.get("page") is True)
    hides = kind == "authentication" and not blameless
    return Outcome(
        kind,
        status,
        credentials_refused(status) if hides else message or shown(_text(fields.get("unread")) or "") or default,
        code=code,
        param=param,
        blameless=blameless,
        **more,
    )


def _status_in(fields: Mapping[str, Any]) -> int:
    """The HTTP status in the fields of an error, or 0."""
    for name in ("code", "status", "status_code", "http_code"):
        value = fields.get(name)
        if type(value) is int and 400 <= value < 600:
            return value
        if isinstance(value, str) and _STATUS.fullmatch(value):
            return int(value)
    return 0


def _filtered_by_openrouter(fields: Mapping[str, Any]) -> Kind | None:
    """OpenRouter's moderation reports what it flagged. https://openrouter.ai/docs/api-reference/errors"""
    metadata = fields.get("metadata")
    flagged = isinstance(metadata, dict) and (metadata.get("flagged_input") or metadata.get("reasons"))
    return "content_policy" if flagged else None


def shown(message: str) -> str:
    """Makes a provider's message fit for the client: shortens it and removes anything that looks like a key."""
    message = message[: 4 * _SHOWN]
    for mark in _ENGINE_ADDS:
        said, found, _ = message.partition(mark)
        if found:
            message = said.rstrip(". \t\r\n")
    return hide_secrets(message)[:_SHOWN]


def credentials_refused(status: int) -> str:
    return "The provider refused this gateway's credentials" + (f" (status {status})." if status else ".")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The delay requested by the provider in seconds, or None.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
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


class Said(NamedTuple):
    """The content of an error in lower case, with '' for missing fields."""

    status: int
    code: str
    type: str
    param: str
    message: str


def _kind(said: Said) -> Kind:
    status, message = said.status, said.message
    if status > 401 and status not in _CALLER and refusals.says_feature_missing(message):
        return "unsupported"
    if status in (401, 403, 407):
        return _of_forbidden(said)
    if status == 404:
        return "caller" if refusals.says_request_named_it(said.param, said.code, message) else "not_found"
    if status == 410:
        return "not_found"
    if status in (413, 429) and refusals.says_too_large_at_once(said.code, message):
        return "context_window"
    if status in (429, _FLEX_CAPACITY):
        return "rate_limit"
    if status in (408, 504):
        return "timeout"
    if status == 413 or refusals.says_too_long(status, said.code, said.type, message):
        return "context_window"
    if status in _CALLER:
        return _of_bad_request(said)
    if status == 451:
        return "content_policy"
    if said.code in ("rate_limit_exceeded", "insufficient_quota") or said.type == "rate_limit_error":
        return "rate_limit"
    # Every other status, such as 500, 502, 503 and 529.
    return "server"


def _is_blameless(said: Said, kind: Kind, *, page: bool) -> bool:
    """Whether the error may concern only this request, so that the deployment can still serve others.

    An HTML page with status 403 counts too: a firewall may have objected to the text of the prompt.
    """
    if said.status == 403 and kind == "authentication":
        return page or not refusals.says_of_key(said.code, said.type, said.message)
    if said.status == 402:
        return refusals.says_too_dear(said.message)
    if kind == "server":
        return refusals.says_engine_stumbled(said.message)
    return said.status == 404 and refusals.says_no_choice(said.message)


def _of_forbidden(said: Said) -> Kind:
    """The kind of a 401, 403 or 407: our key is refused, unless the error is about the request."""
    if said.status == 403:
        if refusals.says_stored_thing_missing(said.message):
            return "caller"
        if refusals.says_filtered("", "", said.message):
            return "content_policy"
    if refusals.says_filtered(said.code, said.type, ""):
        return "content_policy"
    return "not_found" if refusals.says_no_such_model(said.code, said.message) else "authentication"


def _of_bad_request(said: Said) -> Kind:
    if said.code in UNSUPPORTED_CODES or _UNSUPPORTED_PHRASE in said.message:
        return "unsupported"
    if refusals.says_filtered(said.code, said.type, said.message):
        return "content_policy"
    if said.code in _CREDENTIAL_CODES or said.type in _CREDENTIAL_CODES or _CREDENTIALS.match(said.message):
        return "authentication"
    return "caller"


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


# The error body.

# Fields that contain the error message, most specific first.
_WORDS = (
    "message",
    "msg",
    "detail",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "error_description",
    "errorDescription",
    "description",
    "details",
    "error",
    "errors",
    "Message",
    "Error",
    "innererror",
    "fault",
    "faultstring",
    "fieldViolations",
    "reason",
    "title",
    "exception",
    "cause",
)
# Fields with details, for messages that only name the status.
_MORE = ("errors", "details", "error_description", "innererror")
_SHORT = 40  # in characters
_MOST_ITEMS = 5
_MOST_DEPTH = 6
_CODE = re.compile(r"[\w.:/-]{1,80}")
_TITLE = re.compile(r"<(title|h1|message|faultstring)[^>]*>(.{1,200}?)</\1", re.IGNORECASE | re.DOTALL)
_HTML = re.compile(r"\s*(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|\?xml|h1|center)\b", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^>]*>")
_SAYS_SOMETHING = re.compile(r'[:\[]"[^"]')  # a string that is a value, not a key
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")
# MiniMax error codes and the corresponding HTTP statuses. https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX = {
    1001: 504,
    1002: 429,
    1039: 429,
    1041: 429,
    1004: 401,
    2049: 401,
    1008: 402,
    2056: 429,
    2013: 400,
    1042: 400,
}
_MINIMAX_FILTER = (1026, 1027)


def error_fields(raw: bytes) -> dict[str, Any]:
    """The fields of an error response, or an empty dict if it says nothing.

    `unread` contains the entire body if it has text in an unknown shape. `page` is True for an HTML page.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        message, page = _plain_text(raw)
        return {**({"message": message} if message else {}), **({"page": True} if page else {})}
    fields = fields_of(body)
    if fields.get("message") or not isinstance(body, dict | list):
        return fields
    text = orjson.dumps(body).decode()
    return {**fields, "unread": text} if _SAYS_SOMETHING.search(text) else fields


def fields_of(body: Any) -> dict[str, Any]:
    """The fields of a parsed error body."""
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]  # Gemini's streams are lists of responses
    if not isinstance(body, dict):
        message = words(body)
        return {"message": message} if message else {}
    fields = _innermost(body)
    message = words(fields)
    raw = _raw(fields)
    more = words(raw)
    if not more and len(message) <= _SHORT:
        more = next(filter(None, (words(fields.get(name) or body.get(name)) for name in _MORE)), "")
    if more and more not in message:
        message = f"{message.rstrip('.: ')}: {more}" if message else more
    found = {**fields, "message": message} if message else {k: v for k, v in fields.items() if k != "message"}
    if not isinstance(found.get("code"), (str, int)) or not _CODE.fullmatch(str(found["code"])):
        found["code"] = None
    if isinstance(raw, dict) and not fields.get("type"):
        inner = _innermost(raw)
        found["type"] = next((inner[name] for name in ("code", "type") if isinstance(inner.get(name), str)), None)
    field = _forbidden_field(fields)
    if field and not found["code"]:
        found |= {"code": "unknown_parameter", "param": field}
    return found


def words(value: Any, depth: int = 0) -> str:
    """The error message in a value of any shape, or '' if there is none."""
    if depth > _MOST_DEPTH:
        return ""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("{", "["):
            try:
                return words(orjson.loads(text), depth + 1) or text
            except orjson.JSONDecodeError:
                return text
        return text
    if isinstance(value, list):
        return "; ".join(filter(None, (words(item, depth + 1) for item in value[:_MOST_ITEMS])))
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("msg"), str) and isinstance(value.get("loc"), list):
        where = ".".join(str(part) for part in value["loc"])
        return f"{where}: {value['msg']}" if where else value["msg"]
    for name in _WORDS:
        found = words(value.get(name), depth + 1)
        if found:
            return found
    # An object with unknown fields instead of a text. Showing it is better than nothing.
    odd = next((value[name] for name in _WORDS if isinstance(value.get(name), dict) and value[name]), None)
    return orjson.dumps(odd, default=str).decode() if odd is not None and depth < 2 else ""


def says_error(body: Mapping[str, Any]) -> bool:
    """Whether a response with status 200, or a stream event, reports an error, whatever else it contains."""
    error = body.get("error")
    if error and (not isinstance(error, dict) or any(error.values())):
        return True
    if isinstance(error, dict) and "choices" not in body:
        return True
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") not in (0, "0", None):
        return True
    return body.get("object") == "error" or body.get("type") == "error"


def _innermost(body: dict[str, Any]) -> dict[str, Any]:
    """The object that contains the message and the code."""
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        code = base["status_code"]
        status = _MINIMAX.get(code, 500) if isinstance(code, int) else 500
        known = (
            {"code": "content_filter", "status": 400} if code in _MINIMAX_FILTER else {"code": code, "status": status}
        )
        return {**known, "message": base.get("status_msg")}
    error = body.get("error")
    if isinstance(error, dict) and error:
        inner = error.get("error")
        return _innermost(error) if isinstance(inner, dict) and not error.get("message") else error
    if error:
        return {
            **{k: v for k, v in body.items() if k != "error"},
            "message": words(error) or words(body.get("message")),
        }
    errors = body.get("errors")
    if isinstance(errors, list) and errors and not body.get("message"):
        first = errors[0] if isinstance(errors[0], dict) else {}
        return {**first, "message": words(errors)}
    return body


def _raw(fields: Mapping[str, Any]) -> Any:
    """The error of the provider behind OpenRouter, parsed if it is JSON."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    try:
        return orjson.loads(raw) if isinstance(raw, str) else raw
    except orjson.JSONDecodeError:
        return raw


def _forbidden_field(fields: Mapping[str, Any]) -> str | None:
    """The request field that FastAPI does not permit."""
    held = fields.get("message") if isinstance(fields.get("message"), dict) else fields
    listed = held.get("detail") if isinstance(held, dict) else None
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and (
            item.get("type") == "extra_forbidden" or item.get("type") == "value_error.extra"
        ):
            named = [part for part in item.get("loc") or () if isinstance(part, str) and part != "body"]
            return named[0] if named else None
    return None


def _plain_text(raw: bytes) -> tuple[str, bool]:
    """The title of an HTML page or the plain text, and whether it is a page."""
    try:
        text = raw[:8192].decode()
    except UnicodeDecodeError as error:
        if error.start < 8188:
            return "", False  # binary data
        text = raw[: error.start].decode()
    page = _HTML.match(text) is not None
    if page:
        found = _TITLE.search(text)
        text = _MARKUP.sub(" ", found[2]) if found else ""
    return _BLANK.sub(" ", text).strip(), page
