"""Removes secrets from texts that are logged or shown, such as providers' messages and the engine's output."""

import re

# Likely keys: a known prefix followed by characters with a digit among them, or a long run of letters and digits. The
# patterns look ahead only a bounded distance because the texts are untrusted and long.
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|rk|gsk|csk|xai|pplx|nvapi|r8|hf|tgp|fw)[-_]([A-Za-z0-9_*-]{8,})",
)
_HAS_DIGIT = re.compile(r"[0-9*]")
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{20,}|A[KS]IA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_.-]{20,}|[A-Za-z0-9]{32,})"
)
_IN_ADDRESS = re.compile(
    r"(?<=://)[^\s/@]{1,500}@|(?<=[?&])([\w-]{0,40}?(?:key|token|secret|password|sig)[\w-]{0,40}=)[^&\s\"'<>]+",
    re.IGNORECASE,
)


def hide_secrets(text: str) -> str:
    """Mask likely keys, and the user, password and keys in URLs."""
    text = _IN_ADDRESS.sub(lambda found: f"{found[1]}***" if found[1] else "***@", text)
    text = _PREFIXED.sub(lambda found: "***" if _HAS_DIGIT.search(found[1]) else found[0], text)
    return _SECRET.sub("***", text)
