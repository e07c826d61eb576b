"""Secrets that stand in the config file itself, where a config is handed on without them.

The Worker is no place for secrets, and its bundle holds the config. There each of them is a reference to the file in
the container's image, by the hash of the value: so it is found wherever it stands in that file, and never another one.

    {"api_key": "sk-provider"}  →  {"api_key": "os.image/8f434346648f6b96df89dda901c5176b"}
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from .document import REFERENCE

IN_IMAGE = "os.image/"
# What a value is that the image's file does not have: a variable that nobody sets, so its model is off and says why.
MISSING = "SECRET_OF_ANOTHER_CONFIG_FILE"
# What such a setting is called, as a whole or as a part of its name; and what is no secret all the same.
_SECRET_NAMES = re.compile(r"key|secret|token|passw|credential|authorization|cookie|signature|dsn", re.IGNORECASE)
_PLAIN_NAMES = re.compile(r"cost|_per_|tokens|tokenizer|alias|keepalive", re.IGNORECASE)
# Everything in these is one.
_SECRET_SECTIONS = frozenset(("environment_variables", "extra_headers", "headers", "default_headers"))
_USER_IN_ADDRESS = re.compile(r"://[^/\s]*@")


def without(value: Any, secret: bool = False) -> Any:
    """Plain data with a reference in the place of each text that is a secret. `secret`: whether all of them are."""
    if isinstance(value, Mapping):
        return {name: without(inner, secret or _is_secret(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, secret) for inner in value]
    if not isinstance(value, str) or not value or value.startswith(REFERENCE):
        return value
    return IN_IMAGE + _hash(value) if secret or _USER_IN_ADDRESS.search(value) else value


def restored(value: Any, known: Mapping[str, str]) -> Any:
    """The same with the values again. `known`: see `values`."""
    if isinstance(value, Mapping):
        return {name: restored(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [restored(inner, known) for inner in value]
    if isinstance(value, str) and value.startswith(IN_IMAGE):
        return known.get(value.removeprefix(IN_IMAGE), REFERENCE + MISSING)
    return value


def values(value: Any) -> dict[str, str]:
    """All texts of a config file, by their hash."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return {name: text for inner in value for name, text in values(inner).items()}
    return {_hash(value): value} if isinstance(value, str) else {}


def _is_secret(name: str) -> bool:
    if name in _SECRET_SECTIONS:
        return True
    return _SECRET_NAMES.search(name) is not None and not _PLAIN_NAMES.search(name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
