"""Removes secrets that are written in the config file itself, and restores them.

The Worker bundle contains the config but must not contain secrets. Each secret is replaced with a reference to the
config file in the container image, by the hash of its value. A reference therefore survives moves within the file and
never resolves to a different value.

    {"api_key": "sk-provider"}  →  {"api_key": "os.image/8f434346648f6b96df89dda901c5176b"}
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from .document import REFERENCE

IN_IMAGE = "os.image/"
# Placeholder for a secret that the file in the image does not have. No such variable is ever set, so the deployment is
# turned off with a reason.
MISSING = "SECRET_OF_ANOTHER_CONFIG_FILE"
# Setting names that contain one of these words are secrets, unless they also match `_PLAIN_NAMES`.
_SECRET_NAMES = re.compile(r"key|secret|token|passw|credential|authorization|cookie|signature|dsn", re.IGNORECASE)
_PLAIN_NAMES = re.compile(r"cost|_per_|tokens|tokenizer|alias|keepalive", re.IGNORECASE)
# Every value in these sections is a secret.
_SECRET_SECTIONS = frozenset(("environment_variables", "extra_headers", "headers", "default_headers"))
_USER_IN_ADDRESS = re.compile(r"://[^/\s]*@")


def without(value: Any, secret: bool = False) -> Any:
    """Replaces secrets with references. If `secret` is true, every string is a secret."""
    if isinstance(value, Mapping):
        return {name: without(inner, secret or _is_secret(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, secret) for inner in value]
    if not isinstance(value, str) or not value or value.startswith(REFERENCE):
        return value
    return IN_IMAGE + _hash(value) if secret or _USER_IN_ADDRESS.search(value) else value


def restored(value: Any, known: Mapping[str, str]) -> Any:
    """Replaces references with the secrets. `known` is the result of `values`."""
    if isinstance(value, Mapping):
        return {name: restored(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [restored(inner, known) for inner in value]
    if isinstance(value, str) and value.startswith(IN_IMAGE):
        return known.get(value.removeprefix(IN_IMAGE), REFERENCE + MISSING)
    return value


def values(value: Any) -> dict[str, str]:
    """Maps the hash of each string in the config file to the string."""
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
