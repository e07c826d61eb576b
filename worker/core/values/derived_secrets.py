"""Secrets that are derived from the operator's own, so that nothing more has to be configured.

HKDF with SHA-256: https://www.rfc-editor.org/rfc/rfc5869
"""

import hashlib
import hmac

SALT_KEY = "LITELLM_SALT_KEY"
# Passes the derived secret to a container, which knows neither of the operator's secrets.
SEAL_VARIABLE = "INTERNAL_SEAL"
_SALT = b"litellm-router"
_OF_RESPONSES = b"responses"


def seal_secret(salt_key: str | None, master_key: str | None) -> str | None:
    """Returns the secret that protects response ids and kept responses, in hexadecimal. None without either key.

    LiteLLM's LITELLM_SALT_KEY is for encryption at rest and does not change, so it comes before the master key.
    """
    secret = salt_key or master_key
    return derived(secret.encode("utf-8", "surrogatepass"), _OF_RESPONSES, 32).hex() if secret else None


def derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    """Returns `length` bytes of HKDF. Different purposes yield independent secrets."""
    extracted = hmac.digest(_SALT, secret, hashlib.sha256)
    found = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + purpose + bytes((number,)), hashlib.sha256)
        found += block
    return found[:length]
