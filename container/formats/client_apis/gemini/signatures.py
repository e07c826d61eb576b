"""Carries the signed reasoning of other providers in Gemini's `thoughtSignature`.

Gemini's clients send the signature of a part back with the part, most of all that of a function call. What another
provider needs back with a call, such as Claude's thinking blocks, travels there. A signature is base64 in Google's API,
and its content is nobody's business but that of the provider, which checks it.
"""

import base64
import binascii
from typing import Any

import orjson

_OURS = b"litellm-router:"


def sealed(blocks: list[dict[str, Any]]) -> str:
    """The signature that carries Claude's thinking blocks."""
    return base64.b64encode(_OURS + orjson.dumps(blocks)).decode()


def blocks(signature: str) -> list[dict[str, Any]] | None:
    """The blocks that the signature carries. None for a signature of Gemini itself."""
    try:
        data = base64.b64decode(signature, altchars=b"-_" if "-" in signature or "_" in signature else None)
    except (binascii.Error, ValueError):
        return None
    if not data.startswith(_OURS):
        return None
    try:
        found = orjson.loads(data.removeprefix(_OURS))
    except orjson.JSONDecodeError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
