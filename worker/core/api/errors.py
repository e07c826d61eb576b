"""API errors, in the format that OpenAI's clients expect.

    {"error": {"message": str, "type": str, "param": str | null, "code": str | null}}

Clients of Anthropic's Messages API get {"type": "error", "error": {"type": str, "message": str, …}}, and those of
Gemini's API the format in google.py.

Source: https://platform.openai.com/docs/guides/error-codes
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from . import google

# Whose format the client expects errors in.
Dialect = Literal["openai", "anthropic", "google"]

# https://platform.claude.com/docs/en/api/errors
_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


# Retrying cannot help. OpenAI's and Anthropic's clients retry anyway unless told not to; Claude Code retries an invalid
# key for a minute.
_FINAL = frozenset((401, 403, 404))
_NO_RETRY = ("x-should-retry", "false")


class ApiError(Exception):
    """An error response: the status, the four fields of its body and extra headers.

    `log_fields`: what the log says about the refused request besides the error, such as its `key_alias`.
    """

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        log_fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.code = code
        self.param = param
        self.headers = list(headers)
        self.log_fields = log_fields or {}
        if status in _FINAL:
            self.headers.append(_NO_RETRY)

    def fields(self, dialect: Dialect = "openai") -> dict:
        """Returns the JSON body. Anthropic's format is extended with our `code` and `param`."""
        if dialect == "google":
            code, param = self.code, self.param
            return google.error_fields(self.status, self.message, code=code, param=param, headers=self.headers)
        more = {"param": self.param, "code": self.code}
        if dialect == "anthropic":
            kind = _ANTHROPIC.get(self.status, "api_error" if self.status >= 500 else "invalid_request_error")
            return {"type": "error", "error": {"type": kind, "message": self.message, **more}}
        return {"error": {"message": self.message, "type": self.type, **more}}

    def body(self, dialect: Dialect = "openai") -> bytes:
        return json.dumps(self.fields(dialect)).encode()


def unauthenticated(message: str = "No API key given, or one that is not valid here.") -> ApiError:
    return ApiError(
        401, "authentication_error", message, code="invalid_api_key", headers=[("www-authenticate", "Bearer")]
    )


def forbidden(message: str) -> ApiError:
    return ApiError(403, "permission_error", message)


def invalid_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, "invalid_request_error", message, param=param, code=code)


def model_not_found(model: str, available: Iterable[str]) -> ApiError:
    names = ", ".join(available) or "none"
    return ApiError(
        404,
        "invalid_request_error",
        f"The model '{_shown(model)}' does not exist here. Models: {names}.",
        code="model_not_found",
        param="model",
    )


def unknown_path(path: str) -> ApiError:
    return ApiError(404, "invalid_request_error", f"There is nothing at {_shown(path)}.", code="unknown_url")


def wrong_method(method: str, path: str, allowed: Iterable[str]) -> ApiError:
    allow = ", ".join(allowed)
    return ApiError(
        405,
        "invalid_request_error",
        f"{_shown(path)} takes {allow}, not {_shown(method)}.",
        code="method_not_allowed",
        headers=[("allow", allow)],
    )


def no_websocket(path: str) -> ApiError:
    """OpenAI's Codex falls back to HTTP at once on a 426. It retries for seconds after any other status."""
    return ApiError(
        426,
        "invalid_request_error",
        f"{_shown(path)} is not served over a WebSocket: send a POST.",
        code="websocket_not_supported",
        headers=[("upgrade", "HTTP/1.1")],
    )


def body_too_large(limit_mb: float) -> ApiError:
    return ApiError(
        413, "invalid_request_error", f"The request body is over the limit of {limit_mb:g} MB.", code="body_too_large"
    )


def body_too_slow() -> ApiError:
    return ApiError(
        408,
        "invalid_request_error",
        "The request body is arriving too slowly.",
        code="body_too_slow",
        headers=[("connection", "close")],
    )


def service_unavailable(message: str, retry_after: int = 5) -> ApiError:
    """A component is not available (yet). `retry_after` is in seconds."""
    return ApiError(
        503,
        "service_unavailable",
        message,
        code="service_unavailable",
        headers=[("retry-after", str(max(1, retry_after)))],
    )


def timed_out(message: str) -> ApiError:
    return ApiError(504, "timeout_error", message, code="timeout")


def upstream_failed(status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> ApiError:
    """Every deployment and fallback failed. `status` is the last provider's, or 502 if no provider responded."""
    return ApiError(status, "upstream_error", message, code="upstream_error", headers=headers)


def refused(result: Mapping[str, Any]) -> ApiError:
    """Converts a refusal from the ledger (`ledger.decision.refuse`)."""
    return ApiError(
        result["status"],
        result["type"],
        result["message"],
        code=result["code"],
        param=result["param"],
        headers=[(name, value) for name, value in result["headers"]],
        log_fields=result.get("log_fields"),
    )


def internal_error(request_id: str) -> ApiError:
    return ApiError(
        500,
        "server_error",
        f"Internal error. See the log for request id {request_id}.",
        code="internal_error",
        headers=[("retry-after", "5")],
    )


def _shown(text: str, limit: int = 200) -> str:
    """Makes client input safe to quote in a message: printable and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[:limit] + "…"
