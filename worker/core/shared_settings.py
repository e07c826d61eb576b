"""Settings read by both the Worker and the proxy: how each is parsed, and its default; and secrets that are derived
from the operator's own.

Each host decides how to handle an invalid value: the proxy refuses to start, the Worker logs it and uses the default.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SALT_KEY = "LITELLM_SALT_KEY"
# Passes the derived secret to a container, which knows neither of the operator's secrets.
SEAL_VARIABLE = "INTERNAL_SEAL"
_SALT = b"litellm-router"
_OF_RESPONSES = b"responses"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def number(what: str, lowest: float, highest: float, *, above: bool = True) -> Callable[[str], float]:
    """Returns a parser that raises ValueError with instructions, `what`. `above`: `lowest` itself is not allowed."""

    def parse(text: str) -> float:
        value = float(text) if _DECIMAL.fullmatch(text) else float("nan")
        if not lowest <= value <= highest or (above and value == lowest):
            raise ValueError(f"write {what}")
        return value

    return parse


def whole(what: str, lowest: int, highest: int) -> Callable[[str], int]:
    """Like `number`, for whole numbers."""

    def parse(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else lowest - 1
        if not lowest <= value <= highest:
            raise ValueError(f"write {what}")
        return value

    return parse


def flag(text: str) -> bool:
    """Parses a boolean. Raises ValueError."""
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("write true or false")
    return text.lower() in _TRUE


def address(text: str, schemes: tuple[str, ...], what: str) -> str:
    """Validates a URL with one of the schemes and a host. Raises ValueError."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        usable = False
    if not usable:
        raise ValueError(f"write {what}")
    return text


def web_address(text: str) -> str:
    """Validates an http(s) URL. Raises ValueError."""
    return address(text, ("http", "https"), "an http(s) address")


def web_addresses(text: str) -> str:
    """Validates http(s) URLs that are separated by commas. Raises ValueError."""
    for one in text.split(","):
        address(one.strip(), ("http", "https"), "http(s) addresses, separated by commas")
    return text


class Setting(NamedTuple):
    """`parse` raises ValueError with instructions. `secret`: the value is never shown."""

    parse: Callable[[str], Any]
    default: Any
    secret: bool = False


SHARED = {
    "LITELLM_MASTER_KEY": Setting(str, None, secret=True),
    SALT_KEY: Setting(str, None, secret=True),
    "LOCAL_DEVELOPMENT": Setting(flag, False),
    # None: same as LOCAL_DEVELOPMENT; see `public_models`.
    "PUBLIC_MODELS": Setting(flag, None),
    "MAX_BODY_MB": Setting(number("megabytes, a number over 0 and at most 1024", 0, 1024), 32.0),
    "FAILED_KEYS_PER_MINUTE": Setting(whole("a whole number of keys over 0", 1, 1_000_000), 30),
    "DEFAULT_MAX_OUTPUT": Setting(whole("a whole number of tokens over 0", 1, (1 << 31) - 1), None),
    "MIN_OUTPUT": Setting(whole("a whole number of tokens over 0", 1, (1 << 31) - 1), 1024),
    "BUDGET_PATIENCE": Setting(number("seconds from 0 to 20", 0, 20, above=False), 10.0),
    "SPEND_LOG_RETENTION_DAYS": Setting(number("a number of days over 0", 0, 36500), None),
    "ALERT_WEBHOOK_URL": Setting(web_address, None, secret=True),
    "SLACK_WEBHOOK_URL": Setting(web_address, None, secret=True),
    "JWT_PUBLIC_KEY_URL": Setting(web_addresses, None),
    "JWT_PUBLIC_KEY": Setting(str, None),
    "JWT_AUDIENCE": Setting(str, None),
    "JWT_ISSUER": Setting(str, None),
    "JWT_LEEWAY": Setting(number("seconds from 0 to 300", 0, 300, above=False), 10.0),
}


def public_models(wanted: bool | None, *, local: bool) -> bool:
    """Whether /v1/models needs no key. `wanted`: PUBLIC_MODELS; `local`: LOCAL_DEVELOPMENT."""
    return local if wanted is None else wanted


def seal_secret(salt_key: str | None, master_key: str | None) -> str | None:
    """Returns the secret that protects response ids and kept responses, in hexadecimal. None without either key.

    LiteLLM's LITELLM_SALT_KEY is for encryption at rest and does not change, so it comes before the master key.
    """
    secret = salt_key or master_key
    return derived(secret.encode("utf-8", "surrogatepass"), _OF_RESPONSES, 32).hex() if secret else None


def derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    """Returns `length` bytes of HKDF with SHA-256: https://www.rfc-editor.org/rfc/rfc5869. Different purposes yield
    independent secrets."""
    extracted = hmac.digest(_SALT, secret, hashlib.sha256)
    found = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + purpose + bytes((number,)), hashlib.sha256)
        found += block
    return found[:length]
