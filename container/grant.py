"""What the edge says of a request that it lets through: the reservation it has made, and what the key may use."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.api.errors import ApiError, service_unavailable
from worker.api.hop import CATALOG_HEADER, GRANT_HEADER


class Grant(NamedTuple):
    """`reservation`: its id, '' where none was needed. `amount`: nano-dollars, None where nobody knows. `output_limit`:
    what the request has to be sent with, None where it has a limit or needs none; `limited`: a budget or a limit on
    tokens relies on it. `models`: those of the key, in JSON; `headers`: for the answer. `owner`: the hash of the
    virtual key whose request it is, `master`, or '' where it does not matter. `ack`: the ledger has the journal up to
    this number, and an answer in one piece may carry its own report; None where it may not."""

    reservation: str = ""
    amount: int | None = None
    output_limit: int | None = None
    limited: bool = False
    models: str = "[]"
    headers: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    ack: int | None = None


def read(header: str | None) -> Grant:
    """Raises ApiError 500 for what is no grant: it was not a client who wrote it."""
    if header is None:
        return Grant()
    try:
        return _grant(orjson.loads(header))
    except (ValueError, TypeError, AttributeError):
        raise misfit(f"The {GRANT_HEADER} header cannot be read.") from None


def check_catalog(headers: Mapping[str, str], own: str) -> None:
    """Raises ApiError 503 when the edge goes by another catalog: it would reserve by other prices and models."""
    theirs = headers.get(CATALOG_HEADER)
    if theirs != own:
        raise service_unavailable(
            "The edge and its container were made from different configurations "
            f"(catalog {(theirs or 'unknown')[:32]} there, {own} here). Deploy again, so that both have the same.",
            retry_after=30,
        )


def misfit(what: str) -> ApiError:
    """A fault between the two halves of a deployment, which no client can mend."""
    return ApiError(
        500,
        "server_error",
        f"{what} The edge and its container do not fit together: deploy again, so that both are of one version.",
        code="version_mismatch",
        headers=[("retry-after", "30")],
    )


def _grant(fields: Any) -> Grant:
    models = fields.get("models")
    return Grant(
        _a(str, fields.get("reservation", "")),
        _a(int | None, fields.get("amount")),
        _a(int | None, fields.get("output_limit")),
        bool(fields.get("limited")),
        # None is all of them, as is an empty list.
        json.dumps([_a(str, name) for name in models]) if models else "[]",
        tuple((_a(str, name), _a(str, value)) for name, value in fields.get("headers") or ()),
        _a(str, fields.get("owner", "")),
        _a(int | None, fields.get("ack")),
    )


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value
