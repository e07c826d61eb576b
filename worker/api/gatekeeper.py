"""The checks every request passes before anything is woken for it: path, method, key, size. In this order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from . import authenticate, endpoints
from .endpoints import Endpoint
from .errors import ApiError, body_too_large, invalid_request

BYTES_PER_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment allows. `local`: it is a developer's own machine."""

    master_key: str
    local: bool
    public_models: bool
    max_body_mb: float


class Asked(NamedTuple):
    """`key`: the virtual key that was presented, which the ledger has yet to judge; None for the master key, and where
    none is needed."""

    endpoint: Endpoint
    key: str | None = None


def admit(method: str, path: str, header: Callable[[str], str | None], rules: Rules) -> Asked:
    """What is asked for. Raises ApiError 404, 405, 426, 503 (refusal), 401, 400 or 413."""
    endpoint = endpoints.find(method, path, header("upgrade"))
    if endpoint.public:
        return Asked(endpoint)
    refusal = refusal_to_serve(rules)
    if refusal is not None:
        raise refusal
    given = authenticate.presented_key(header)
    virtual = authenticate.virtual_key(given, rules.master_key)
    if virtual is None and not (rules.public_models and endpoint.name in ("models", "model")):
        authenticate.require_master_key(given, rules.master_key)
    _check_length(header("content-length"), rules.max_body_mb)
    return Asked(endpoint, virtual)


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
