"""Gemini's API: its paths, the key in its query, and its error format.

    {"error": {"code": int, "message": str, "status": str, "details": [{"@type": str, …}]}}

Sources: https://ai.google.dev/api/generate-content, https://cloud.google.com/apis/design/errors
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

KEY_HEADER = "x-goog-api-key"
# The methods of a model that clients may call, and our names of their endpoints.
METHODS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "stream_generate_content",
    "countTokens": "google_count_tokens",
    "embedContent": "embed_content",
    "batchEmbedContents": "batch_embed_contents",
}
# google-genai asks under `/v1beta`, for experimental features under `/v1alpha`, on request under `/v1`. LiteLLM has the
# methods without a prefix, too.
_OWN_PREFIX = re.compile(r"/v1(?:beta|alpha)(?=/|$)")
_METHOD = re.compile(rf"(?:/v1|/v1beta|/v1alpha)?/models/(.+):({'|'.join(METHODS)})")
_MODELS = re.compile(r"/v1(?:beta|alpha)/models(?:/(.+))?")

_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPES = "type.googleapis.com/google.rpc."
_DOMAIN = "litellm-router"


def endpoint(path: str) -> str | None:
    """Returns the name of the endpoint at `path` (raw, without the query), or None if it is not one of Gemini's API."""
    found = _METHOD.fullmatch(path)
    if found:
        return METHODS[found[2]]
    listed = _MODELS.fullmatch(path)
    if listed is None:
        return None
    return "google_model" if listed[1] else "google_models"


def is_googles(path: str) -> bool:
    """Whether clients of this path expect errors in Google's format."""
    return _OWN_PREFIX.match(path) is not None or _METHOD.fullmatch(path) is not None


def model_of(path: str) -> str:
    """Returns the decoded model in the path of a method, which may have a query.

    It may contain slashes and colons, as in `azure/gpt-4o`.
    """
    return unquote(path.partition("?")[0].split("/models/", 1)[1].rpartition(":")[0])


def take_key(query: str) -> tuple[str, str | None]:
    """Splits `key` off a query without its question mark. Returns the rest of the query, and the key or None."""
    rest, key = [], None
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == "key":
            key = unquote_plus(value) or key
        else:
            rest.append(part)
    return "&".join(rest), key


def wants_events(query: str) -> bool:
    """Whether a stream is sent as server-sent events. Without `alt=sse` it is a JSON array."""
    return any(unquote_plus(part) == "alt=sse" for part in query.split("&"))


def error_fields(
    status: int, message: str, *, code: str | None, param: str | None, headers: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Returns an error's JSON body. Google's clients read the delay in `RetryInfo`, not in `Retry-After`."""
    details: list[Mapping[str, Any]] = []
    if code is not None:
        details.append({"@type": f"{_TYPES}ErrorInfo", "reason": code.upper(), "domain": _DOMAIN})
    if param is not None:
        violation = {"field": param, "description": message}
        details.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]})
    seconds = next((value for name, value in headers if name == "retry-after"), None)
    if seconds is not None and seconds.replace(".", "", 1).isdecimal():
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{seconds}s"})
    name = _STATUS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": message, "status": name, "details": details}}
