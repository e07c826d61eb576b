"""Logs the requests that end at the edge: refusals, and failures without a container's response.

All other requests have the line of the container that answered (container/handlers/attempts.py).
"""

import time

from core.api.endpoints import CALLS_A_MODEL, find
from core.api.errors import ApiError

from .forwarding import Client
from .runtime.log import log


def log_refused(client: Client, path: str, error: ApiError, began: float) -> None:
    """`path`: the request's, raw. `began`: on `time.monotonic`. Only requests to a model have a line."""
    try:
        endpoint = find(client.method, path).name
    except ApiError:
        return
    if endpoint in CALLS_A_MODEL:
        log(
            "info",
            "request_finished",
            request_id=client.id,
            endpoint=endpoint,
            **error.log_fields,
            status=error.status,
            error=error.code or error.type,
            cost=0,
            seconds=round(time.monotonic() - began, 4),
        )
