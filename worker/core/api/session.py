"""The cookie of a session of the dashboard, and what protects it from other sites' pages.

On https the cookie has the prefix `__Host-`: it is sent to this host only, over TLS only, and no other host can set it
(https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes). On a loopback address with
http it has the same name without the prefix, because browsers refuse the prefix there.
"""

import hashlib
import re
from collections.abc import Callable

from .errors import ApiError, forbidden

SESSION, SIGN_IN = "litellm-router-session", "litellm-router-sign-in"
# A form or an image of another site cannot send it, and a script of another site only after a preflight.
HEADER = "x-litellm-router-session"
_ID = re.compile(r"[A-Za-z0-9_-]{43}")

Header = Callable[[str], str | None]


def cookie_name(name: str, base_url: str) -> str:
    return f"__Host-{name}" if base_url.startswith("https://") else name


def cookie(header: Header, name: str) -> str | None:
    """Returns a cookie's value, None if it is missing or sent twice: then one of them is somebody else's.

    It splits as browsers do, at semicolons, and strips nothing but their blanks: a neighbor, such as another host of
    the domain, may set a cookie whose value has a comma, or whose name begins with another kind of space, and then a
    name that only this host may set.
    """
    pairs = (pair.strip(" \t").partition("=") for pair in (header("cookie") or "").split(";"))
    values = [value for key, _, value in pairs if key == name]
    return values[0] if len(values) == 1 else None


def set_cookie(name: str, value: str, base_url: str, *, seconds: int, strict: bool) -> tuple[str, str]:
    """Returns a response header. Without `strict` the cookie is sent when a link of another site leads here."""
    secure = "; Secure" if base_url.startswith("https://") else ""
    site = "Strict" if strict else "Lax"
    value = f"{cookie_name(name, base_url)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={site}{secure}"
    return "set-cookie", value


def hashed(id: str) -> str:
    return hashlib.sha256(id.encode("ascii")).hexdigest()


def presented(header: Header, base_url: str) -> str | None:
    """Returns the hash of the session's id that a browser has sent, if any."""
    id = cookie(header, cookie_name(SESSION, base_url))
    return hashed(id) if id is not None and _ID.fullmatch(id) else None


def credential(method: str, header: Header, base_url: str) -> dict[str, str] | None:
    """Returns the credential of a call with a session's cookie, see `ledger.callers`; None without a cookie.

    Raises ApiError 403 if the call changes something and may come from another site's page.
    """
    found = presented(header, base_url)
    if found is None:
        return None
    if method not in ("GET", "HEAD"):
        require_own_page(header, base_url)
    return {"session": found}


def require_own_page(header: Header, base_url: str) -> None:
    """Raises ApiError 403 unless the request comes from a script of the gateway's own pages."""
    if header(HEADER) != "1":
        raise _foreign(f"A call with a session has to carry the header {HEADER}: 1.")
    if header("origin") != base_url:
        raise _foreign("A call with a session has to come from the gateway's own page, at its PROXY_BASE_URL.")


def _foreign(message: str) -> ApiError:
    error = forbidden(message)
    error.code = "cross_site"
    return error
