"""The HTTP side of the admin API, shared by the edge and the proxy.

A request becomes a call, a plain dict that `ledger.administration` decides. The ledger's result becomes the response
body or an ApiError.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from .auth import same_secret
from .endpoints import Endpoint, key_of
from .errors import ApiError, forbidden, invalid_request, refused

MAX_BODY_MB = 1.0
# Responses contain secrets and change with the next call.
HEADERS = (("cache-control", "no-store"),)
_MAX_PARAMETERS = 50
# Fields and parameters that may hold a key's secret.
_NAMING = ("key", "new_key", "keys", "api_key", "key_hash", "search")
# The JSON escape, not a backslash followed by the text "u0000".
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def call(endpoint: Endpoint, path: str, query: str, body: bytes, master_key: str | None = None) -> dict[str, Any]:
    """Parses a request into a call. An empty body means no fields. `query` is raw, without the `?`.

    Raises ApiError 400.
    """
    key = key_of(path) if endpoint.name == "key_regenerate" else None
    posted = "POST" in endpoint.methods
    sent = _fields(body) if posted else _parameters(query)
    _refuse_nul(sent)
    if master_key:
        _refuse_master_key(key, sent, master_key)
    return {
        "name": endpoint.name,
        "key": key,
        "query": {} if posted else sent,
        "body": sent if posted else None,
    }


def answer(result: dict[str, Any]) -> Any:
    """Returns the response body. Raises ApiError if the ledger refused the call."""
    if result["ok"]:
        return result["body"]
    raise refused(result)


def operators_only() -> ApiError:
    return forbidden("This call needs the master key or an operator.")


def _parameters(query: str) -> dict[str, str]:
    try:
        query.encode("utf-8")  # invalid UTF-8 arrives as lone surrogates
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise invalid_request("The query cannot be read.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise invalid_request(f"'{name[:100]}' appears more than once.", param=name[:100])
        found[name] = value
    return found


def _fields(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        fields = json.loads(body, parse_constant=_no_number)
        body.decode("utf-8")
        # Rejects lone surrogates, which are not valid text, and 1e999, which JSON cannot represent.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid_request("The request body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise invalid_request("The request body must be a JSON object.")
    return fields


def _refuse_nul(sent: Mapping[str, Any]) -> None:
    """PostgreSQL cannot store NUL in text."""
    for name, value in sent.items():
        if _NUL.search(json.dumps([name, value])):
            raise invalid_request(f"'{name[:100]}' must not contain NUL characters.", param=name[:100])


def _refuse_master_key(key: str | None, sent: Mapping[str, Any], master_key: str) -> None:
    """The master key takes precedence over virtual keys, so a key with the same secret would have no limits."""
    named = [("key", key)]
    for name in _NAMING:
        value = sent.get(name)
        named += [(name, one) for one in (value if isinstance(value, list) else [value])]
    for name, value in named:
        if isinstance(value, str) and same_secret(value, master_key):
            message = f"'{name}' is the master key, not a virtual key. It has no limits and cannot be changed here."
            raise invalid_request(message, param=name)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
