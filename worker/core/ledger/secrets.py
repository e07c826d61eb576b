"""The secret of a key. It is generated once, shown once, and stored only as its SHA-256."""

import base64
import hashlib
import os
import re

PREFIX = "sk-"
_HASH = re.compile(r"[0-9a-f]{64}")
_CHOSEN = re.compile(r"sk-[\x21-\x7e]{5,253}")


def new_secret() -> str:
    """Returns `sk-` and 256 random bits."""
    return PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def new_id() -> str:
    """Returns 128 random bits in hexadecimal, for keys and reservations."""
    return os.urandom(16).hex()


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def reference(key: str) -> str:
    """Returns the hash for a secret or a `token`, which is the hash itself."""
    return key if _HASH.fullmatch(key) else hash_secret(key)


def hint(secret: str) -> str:
    """Returns the part of a secret that may be shown later."""
    return f"{PREFIX}...{secret[-4:]}"


def is_acceptable(secret: object) -> bool:
    """Whether a caller may choose this secret: `sk-` and 5 to 253 printable ASCII characters."""
    return isinstance(secret, str) and _CHOSEN.fullmatch(secret) is not None
