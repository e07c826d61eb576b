"""Takes secrets out of texts that are logged or shown: a provider's words, the engine's output."""

import re

# What looks like a key: a provider's prefix and more, with a digit in it; or a long run of letters and digits. No
# expression here looks ahead without a bound, as these texts are the clients' and providers' own, and long.
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
    """The text without what looks like a key, and without the user, the password and the keys of an address."""
    text = _IN_ADDRESS.sub(lambda found: f"{found[1]}***" if found[1] else "***@", text)
    text = _PREFIXED.sub(lambda found: "***" if _HAS_DIGIT.search(found[1]) else found[0], text)
    return _SECRET.sub("***", text)
