"""What the engine's endpoints are charged, and what is said of it on the way in and out."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.api.endpoints import Endpoint
from worker.ledger import charges
from worker.ledger.estimate import Prompt

from ..accounting import Accounts, AnyReservation
from ..exchange import Exchange
from ..request.engine_body import FormBody, JsonBody

# The field that limits the answer, where it comes in tokens.
_OUTPUT_LIMITS = {"responses": "max_output_tokens"}


async def admit(
    accounting: Accounts, exchange: Exchange, endpoint: Endpoint, body: JsonBody | FormBody
) -> AnyReservation:
    """Sets aside what the request can cost, and limits its output where a budget relies on it. Raises ApiError."""
    if isinstance(body, FormBody):
        # How much a file comes to is not known before it is sent.
        charge, estimated = charges.of_form(endpoint.name, body.count), Prompt(0, 0, ("file",))
        return await accounting.admit(exchange, endpoint.name, {}, body.route, charge, estimated=estimated)
    charge = charges.of_body(endpoint.name, body.fields)
    reservation = await accounting.admit(exchange, endpoint.name, body.fields, body.route, charge)
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
