"""One id per request, the same in the client's headers, the logs and the spend rows."""

import os
import re

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def request_id(given: str | None) -> str:
    """The client's own `x-request-id` when it is harmless, else a new one."""
    if given and _ACCEPTABLE.fullmatch(given):
        return given
    return os.urandom(16).hex()
