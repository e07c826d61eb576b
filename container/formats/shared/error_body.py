"""Normalizes a provider's error body to a dict with `message`, `code`, `type` and `param`. Known shapes:

{"error": {"message": …}}   {"error": "…"}   {"error": […]}   {"errors": […]}   {"message": …}   {"detail": …}
{"message": {"detail": [{"loc": […], "msg": …}]}}      Mistral, FastAPI
{"error": {"message": "Provider returned error", "metadata": {"raw": "…"}}}      OpenRouter
{"base_resp": {"status_code": 1008, "status_msg": …}}      MiniMax
plain text, an HTML page
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

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
