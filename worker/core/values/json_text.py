"""JSON between the parts of the gateway: `json.dumps` and `json.loads` without their options.

They are called several times per request, and in the Worker's interpreter they cost half as much.
"""

import json
from json import encoder, scanner
from typing import Any

_scan: Any = scanner.make_scanner(json.JSONDecoder())  # pyright: ignore[reportArgumentType]
# `None`: circular references are not looked for. Where there is no encoder in C, json's own is used.
_make_encoder: Any = getattr(encoder, "c_make_encoder", None)
_encode: Any = _make_encoder and _make_encoder(
    None, json.JSONEncoder().default, encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True
)


def to_json(value: Any) -> str:
    """Encodes like `json.dumps`, without a check for circular references."""
    return json.dumps(value) if _encode is None else "".join(_encode(value, 0))


def from_json(text: str | bytes) -> Any:
    """Decodes like `json.loads`. Raises ValueError."""
    if isinstance(text, str):
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end == len(text):
            return value
    return json.loads(text)
