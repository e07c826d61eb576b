"""Request ids, used in the `x-request-id` response header, logs, traces and the spend log.

A client may name its own request. The gateway still generates an id, because two clients may choose the same name. The
spend log can be searched by either.
"""

import os
import re

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def acceptable(given: str | None) -> str | None:
    """Returns the client's `x-request-id` if it is safe to use."""
    return given if given and _ACCEPTABLE.fullmatch(given) else None


def new_id() -> str:
    """Returns 128 random bits in hexadecimal."""
    return os.urandom(16).hex()
