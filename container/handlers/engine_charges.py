"""What the engine's endpoints are charged, and what is said of it on the way in and out."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.api.endpoints import Endpoint

from ..request.engine_body import FormBody, JsonBody

# The field that limits the answer, where it comes in tokens.
_OUTPUT_LIMITS = {"responses": "max_output_tokens"}


def limit_output(endpoint: Endpoint, body: JsonBody | FormBody, tokens: int | None) -> None:
    """Where a budget relies on it. `tokens`: None where the request has a limit or needs none."""
    if tokens is not None and isinstance(body, JsonBody):
        body.limit_output(_OUTPUT_LIMITS[endpoint.name], tokens)


def usage(raw: bytes) -> Mapping[str, Any] | None:
    """What a whole answer says that it used."""
    if b'"usage"' not in raw:
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    found = body.get("usage") if isinstance(body, dict) else None
    return found if isinstance(found, dict) else None
