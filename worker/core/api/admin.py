"""The admin API's way over HTTP: a request becomes a call, a plain dict that `ledger.administration` decides, and the
ledger's result becomes the answer's body or an ApiError. The same at the edge and standalone."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .auth import same_secret
from .endpoints import Endpoint, key_of
from .errors import ApiError, forbidden, invalid_request, refused

MAX_BODY_MB = 1.0
# Answers hold secrets and change with the next call.
HEADERS = (("cache-control", "no-store"),)
_MAX_PARAMETERS = 50
# Fields and parameters in which a key may be named by its secret.
_NAMING = ("key", "new_key", "keys", "api_key", "key_hash")
# As JSON writes it, and not the six characters of it in a text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def call(endpoint: Endpoint, path: str, query: str, body: bytes, master_key: str | None = None) -> dict[str, Any]:
    """What is asked for; an empty body is no fields. `query`: raw, without `?`. `master_key`: None where there is none.
    Raises ApiError 400."""
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
    """The body of the answer. Raises ApiError where the ledger refused."""
    if result["ok"]:
        return result["body"]
    raise refused(result)


def of_its_own(
    endpoint: Endpoint, call: Mapping[str, Any], key_hash: str | None, reference: Callable[[str], str]
) -> Any:
    """The call as a virtual key may make it: about itself. `reference`: the hash that a text names a key with means.
    Raises ApiError 403."""
    if key_hash is None or endpoint.name != "key_info":
        raise master_key_only()
    named = call["query"].get("key")
    if named and reference(named) != key_hash:
        raise forbidden("A virtual key may ask about itself alone.")
    return {**call, "query": {**call["query"], "key": key_hash}}


def master_key_only() -> ApiError:
    return forbidden("The admin API takes the master key only.")


def _parameters(query: str) -> dict[str, str]:
    try:
        query.encode("utf-8")  # bytes that are none come as lone surrogates
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise invalid_request("The query cannot be read.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise invalid_request(f"'{name[:100]}' is given twice.", param=name[:100])
        found[name] = value
    return found


def _fields(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        fields = json.loads(body, parse_constant=_no_number)
        body.decode("utf-8")
        # A lone surrogate is no text, and 1e999 no number that JSON could give back.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid_request("The request's body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise invalid_request("The body has to be a JSON object.")
    return fields


def _refuse_nul(sent: Mapping[str, Any]) -> None:
    """PostgreSQL has no text with it."""
    for name, value in sent.items():
        if _NUL.search(json.dumps([name, value])):
            raise invalid_request(f"'{name[:100]}' holds a NUL character, which no text has here.", param=name[:100])


def _refuse_master_key(key: str | None, sent: Mapping[str, Any], master_key: str) -> None:
    """It goes before every virtual key, so that no limit would hold for one with the same secret."""
    named = [("key", key)]
    for name in _NAMING:
        value = sent.get(name)
        named += [(name, one) for one in (value if isinstance(value, list) else [value])]
    for name, value in named:
        if isinstance(value, str) and same_secret(value, master_key):
            message = (
                f"'{name}' is the master key, which is no virtual key: it has no limits, and cannot be changed here."
            )
            raise invalid_request(message, param=name)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
