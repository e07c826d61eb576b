"""The operator's dashboard, `GET /dashboard`: static files, identical at the edge and in the proxy.

The page needs no key and contains no data. It calls the admin API with the master key that the operator enters.
uplot.js and uplot.css are from the npm package uplot; see uplot.LICENSE.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FILES = Path(__file__).parent / "page"
PAGE = "index.html"
# All files with their content types.
TYPES = {
    PAGE: "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "uplot.css": "text/css; charset=utf-8",
    "uplot.js": "text/javascript; charset=utf-8",
    "uplot.LICENSE": "text/plain; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "main.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "dialog.js": "text/javascript; charset=utf-8",
    "form.js": "text/javascript; charset=utf-8",
    "format.js": "text/javascript; charset=utf-8",
    "limits.js": "text/javascript; charset=utf-8",
    "route.js": "text/javascript; charset=utf-8",
    "session.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "accounts.js": "text/javascript; charset=utf-8",
    "activity.js": "text/javascript; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "models.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "request.js": "text/javascript; charset=utf-8",
    "requests.js": "text/javascript; charset=utf-8",
    "team.js": "text/javascript; charset=utf-8",
    "try.js": "text/javascript; charset=utf-8",
}
# No external resources, no inline code, no framing, and no text interpreted as markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    # Cached but always revalidated: a new version appears at once, and an unchanged one transfers no body.
    ("cache-control", "no-cache"),
)


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    content_type: str
    content: bytes


def answer(name: str, if_none_match: str | None) -> Answer | None:
    """Returns the file, or a 304 if the client has it already; None if there is no such file."""
    if name not in TYPES:
        return None
    content, tag = _file(name)
    headers = (*_HEADERS, ("etag", tag))
    if if_none_match is not None and tag in _tags(if_none_match):
        return Answer(304, headers, TYPES[name], b"")
    return Answer(200, headers, TYPES[name], content)


def _tags(if_none_match: str) -> Iterable[str]:
    """Returns the entity tags. A compressing proxy makes them weak."""
    return (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))


@cache
def _file(name: str) -> tuple[bytes, str]:
    """Returns the content and entity tag, read on first use so that processes without dashboard users pay nothing."""
    content = (_FILES / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
