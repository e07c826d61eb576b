"""One id per request: in the answer's `x-request-id`, the logs, the traces and the spend log.

A client may name its request. Its name is kept beside the id that the gateway makes, because nothing keeps two clients
from choosing the same one; the spend log is searched by either.
"""

import os
import re

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def acceptable(given: str | None) -> str | None:
    """The client's own `x-request-id` if it is harmless, else None."""
    return given if given and _ACCEPTABLE.fullmatch(given) else None


def new_id() -> str:
    """128 random bits, in hexadecimal."""
    return os.urandom(16).hex()
