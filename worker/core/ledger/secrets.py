"""A key's secret: made once, shown once, and known here only by its SHA-256."""

import base64
import hashlib
import os
import re

PREFIX = "sk-"
_HASH = re.compile(r"[0-9a-f]{64}")
_CHOSEN = re.compile(r"sk-[\x21-\x7e]{5,253}")


def new_secret() -> str:
    """`sk-` and 256 random bits."""
    return PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def new_id() -> str:
    """For keys and reservations: 128 random bits, in hexadecimal."""
    return os.urandom(16).hex()


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def reference(key: str) -> str:
    """The hash meant by what an administrator names a key with: its secret, or the hash itself (`token`)."""
    return key if _HASH.fullmatch(key) else hash_secret(key)


def hint(secret: str) -> str:
    """What is shown of a secret afterwards."""
    return f"{PREFIX}...{secret[-4:]}"


def is_acceptable(secret: object) -> bool:
    """Whether a caller's own choice can be a secret: `sk-` and 5 to 253 printable ASCII characters."""
    return isinstance(secret, str) and _CHOSEN.fullmatch(secret) is not None
