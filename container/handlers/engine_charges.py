"""What the engine's endpoints are charged by: tokens, pictures, characters, queries, or nothing."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.api.endpoints import Endpoint
from worker.ledger.estimate import Prompt

from ..accounting import Accounts, AnyReservation
from ..exchange import Exchange
from ..request.engine_body import FormBody, JsonBody

# Answers in tokens, and the field that limits them.
_OUTPUT_LIMITS = {"messages": "max_tokens", "responses": "max_output_tokens"}
_PICTURES = ("image_generation", "image_edit", "image_variation")


async def admit(
    accounting: Accounts, exchange: Exchange, endpoint: Endpoint, body: JsonBody | FormBody
) -> AnyReservation:
    """Sets aside what the request can cost, and limits its output where a budget relies on it. Raises ApiError."""
    if isinstance(body, FormBody):
        # How much a file comes to is not known before it is sent.
        units = {"image": body.count} if endpoint.name in _PICTURES else None
        return await accounting.admit(
            exchange, endpoint.name, {}, body.route, has_output=False, units=units, estimated=Prompt(0, 0, ("file",))
        )
    reservation = await accounting.admit(
        exchange,
        endpoint.name,
        body.fields,
        body.route,
        has_output=endpoint.name in _OUTPUT_LIMITS,
        units=_units(endpoint.name, body.fields),
        free=endpoint.name == "count_tokens",
    )
    if reservation.output_limit is not None:
        body.limit_output(_OUTPUT_LIMITS[endpoint.name], reservation.output_limit)
    return reservation


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


def _units(name: str, fields: Mapping[str, Any]) -> dict[str, int] | None:
    if name in _PICTURES:
        count = fields.get("n")
        return {"image": count if isinstance(count, int) and count > 0 else 1}
    if name == "speech":
        text = fields.get("input")
        return {"character": len(text) if isinstance(text, str) else 0}
    if name == "rerank":
        return {"query": 1}
    return None
