"""The checks every request passes before anything is woken for it: path, method, key, size. In this order."""

from collections.abc import Callable
from dataclasses import dataclass

from . import authenticate, endpoints
from .errors import ApiError, body_too_large, invalid_request, standalone_only

BYTES_PER_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment allows. `local`: it is a developer's own machine."""

    master_key: str
    local: bool
    public_models: bool
    max_body_mb: float


def admit(method: str, path: str, header: Callable[[str], str | None], rules: Rules) -> endpoints.Endpoint:
    """The endpoint that is asked for. Raises ApiError 404, 405, 503 (refusal), 401, 400 or 413."""
    endpoint = endpoints.find(method, path)
    if endpoint.public:
        return endpoint
    refusal = refusal_to_serve(rules)
    if refusal is not None:
        raise refusal
    if not (rules.public_models and endpoint.name in ("models", "model")):
        authenticate.require_master_key(authenticate.presented_key(header), rules.master_key)
    if endpoint.admin:
        raise standalone_only(path)
    _check_length(header("content-length"), rules.max_body_mb)
    return endpoint


def refusal_to_serve(rules: Rules) -> ApiError | None:
    """Why nothing but health is served; a new error each time, as raising one that is kept would keep its frames."""
    return authenticate.refusal_to_serve(rules.master_key, local=rules.local)


def _check_length(content_length: str | None, max_body_mb: float) -> None:
    """A body without a length is measured by whoever reads it."""
    if content_length is None:
        return
    if not (content_length.isascii() and content_length.isdigit()):
        raise invalid_request("The Content-Length header is not a number.")
    if int(content_length) > max_body_mb * BYTES_PER_MB:
        raise body_too_large(max_body_mb)
