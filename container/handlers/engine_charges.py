"""What the engine's endpoints are charged, and what is said of it on the way in and out."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.api.endpoints import Endpoint
from worker.ledger.usage import count

from ..request.engine_body import FormBody, JsonBody

# The field that limits the answer, where it comes in tokens.
_OUTPUT_LIMITS = {"responses": "max_output_tokens"}
# What a ranking has read, by the names that there are for it.
_READ = ("prompt_tokens", "total_tokens", "input_tokens")


def limit_output(endpoint: Endpoint, body: JsonBody | FormBody, tokens: int | None) -> None:
    """Where a budget relies on it. `tokens`: None where the request has a limit or needs none."""
    if tokens is not None and isinstance(body, JsonBody):
        body.limit_output(_OUTPUT_LIMITS[endpoint.name], tokens)


def usage(raw: bytes) -> Mapping[str, Any] | None:
    """What a whole answer says that it used; of a ranking also {"search_units": how many searches it was}."""
    if b'"usage"' not in raw and b'"billed_units"' not in raw:
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    found = body.get("usage")
    said = found if isinstance(found, dict) else None
    return _ranked(body, said or {}) if "results" in body else said


def _ranked(body: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """A ranking has no text: whatever tokens it took are its prompt's. Cohere's words, and Voyage's."""
    meta = body.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    billed = billed if isinstance(billed, dict) else {}
    tokens = (count(each, name) for each in (said, billed) for name in _READ)
    read = next((found for found in tokens if found), 0)
    counted = {"prompt_tokens": read, "completion_tokens": 0} if read else {}
    searches = count(billed, "search_units")
    return {**counted, "search_units": searches} if searches else counted
