"""Whether a provider's address can be used. Never says which one it was: there may be a password in it."""

from urllib.parse import urlsplit


def wrong(base: str) -> str | None:
    """What is wrong with it, to follow its name."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        return "is not an http(s) address."
    return "holds a query, behind which nothing more can be written." if "?" in base or "#" in base else None
