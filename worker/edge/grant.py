"""What a container is told of a request that the ledger has admitted."""

import json
from collections.abc import Mapping
from typing import Any


def grant(ask: Mapping[str, Any], result: Mapping[str, Any], add_limit: int | None, ack: int | None = None) -> str:
    """The text of a GRANT_HEADER. `ask`: what was asked for; `result`: what `ledger.admit.admit` said; `add_limit`: the
    output limit to send the request with where a limit relies on it; `ack`: see `api.hop`."""
    limited = result["limited"]
    fields = {
        "reservation": ask["id"],
        "amount": ask["amount"],
        "output_limit": add_limit if limited else None,
        "limited": limited,
        "models": None,  # the ledger has looked
        "headers": result["headers"],
        "owner": ask["secret_hash"] or "master",
        "ack": ack,
    }
    return json.dumps(fields)
