"""Checks that run before a request wakes a container: path, method, key or session, and size.

Addresses that send too many invalid keys are refused for a while.
"""

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from . import endpoints
from .endpoints import Endpoint
from .errors import ApiError, body_too_large, forbidden, invalid_request, service_unavailable, unauthenticated
from .google import KEY_HEADER

# The master key in every tutorial. It is only accepted on a developer's own machine.
WELL_KNOWN_KEY = "sk-1234"

# The endpoints that need no key if PUBLIC_MODELS is set.
PUBLIC_MODELS = ("models", "model", "google_models", "google_model")

# The prefix of every virtual key.
VIRTUAL_KEY_PREFIX = "sk-"

# With a JWT, the team that pays: one of its own.
TEAM_HEADER = "x-litellm-team-id"

NO_MASTER_KEY = (
    "This gateway has no LITELLM_MASTER_KEY, so it serves nothing but /health. Set the secret and try again."
)
WELL_KNOWN_MASTER_KEY = (
    "LITELLM_MASTER_KEY is sk-1234, which everybody knows, so this gateway serves nothing but /health. Set another one."
)


def presented_key(header: Callable[[str], str | None]) -> str | None:
    """Returns the key from `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`, in this order."""
    authorization = header("authorization")
    if authorization:
        scheme, _, value = authorization.strip().partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    return header("x-api-key") or header("api-key") or header(KEY_HEADER) or None


def same_secret(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def virtual_key(given: str | None, master_key: str) -> str | None:
    """Returns the presented key if it could be a virtual key. The ledger decides whether it is one."""
    if given is None or not given.startswith(VIRTUAL_KEY_PREFIX) or same_secret(given, master_key):
        return None
    return given


def looks_like_a_jwt(given: str) -> bool:
    """Whether a secret has the outer form of a JWT (three parts) or of an encrypted one (five)."""
    return given.count(".") in (2, 4) and not given.startswith(VIRTUAL_KEY_PREFIX)


def refusal_without_master_key(master_key: str | None, *, local: bool) -> ApiError | None:
    """Returns the error if this master key is missing or unsafe. `local`: running on a developer's own machine."""
    if not master_key:
        return service_unavailable(NO_MASTER_KEY, retry_after=60)
    if master_key == WELL_KNOWN_KEY and not local:  # both are the operator's
        return service_unavailable(WELL_KNOWN_MASTER_KEY, retry_after=60)
    return None


def require_master_key(given: str | None, master_key: str) -> None:
    """Raises ApiError 401 unless `given` is the master key."""
    if given is None:
        raise unauthenticated("No API key given. Send it as 'Authorization: Bearer <key>', with the word Bearer.")
    if not same_secret(given, master_key):
        raise unauthenticated("This API key is not valid here.")


WINDOW_SECONDS = 60.0
# About 2 MB. Beyond this many addresses, the oldest is forgotten.
MAX_ADDRESSES = 10_000
_IPV6_NETWORK_BITS = 64  # the network that one customer gets


class FailedAuthLimiter:
    """Limits failed authentication per address. The first `limit` failures in a minute are answered with 401."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # (end of the window, wrong keys in it)

    def refusal(
        self, refused: ApiError, header: Callable[[str], str | None], address: str, now: float
    ) -> tuple[ApiError, bool]:
        """Returns the error for a request that was `refused` with 401, and whether this request crossed the limit (the
        caller logs that). Requests without a key are not counted. `now`: as in `failed`."""
        if presented_key(header) is None:
            return refused, False
        seconds, passed = self.failed(address, now)
        return (too_many(seconds) if seconds else refused), passed

    def failed(self, address: str, now: float) -> tuple[int, bool]:
        """Counts one failure. Returns the seconds to wait (0 while under the limit) and whether this failure crossed
        the limit. `now`: seconds on a monotonic clock."""
        name = _network(address)
        end, count = self._counts.pop(name, (0.0, 0))
        if not now < end <= now + WINDOW_SECONDS:
            end, count = now + WINDOW_SECONDS, 0
        self._counts[name] = end, count + 1
        if len(self._counts) > MAX_ADDRESSES:
            self._counts.popitem(last=False)
        if count < self._limit:
            return 0, False
        return max(1, round(end - now)), count == self._limit

    def is_over(self, address: str, now: float) -> bool:
        """Returns whether the address has reached the limit. Counts nothing."""
        end, count = self._counts.get(_network(address), (0.0, 0))
        return count >= self._limit and now < end <= now + WINDOW_SECONDS


def too_many(retry_after: int) -> ApiError:
    return ApiError(
        429,
        "rate_limit_error",
        "Too many keys from this address were not valid. Try again later; a valid key is still accepted.",
        code="too_many_failed_keys",
        headers=[("retry-after", str(retry_after)), ("x-should-retry", "false")],  # retrying will not make it valid
    )


def _network(address: str) -> str:
    """Returns the unit that failures are counted by: an IPv4 address or an IPv6 network."""
    # Imported on first use: it would take a fortieth of an isolate's start.
    from ipaddress import IPv6Address, ip_address

    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS))
    return str(found)


BYTES_PER_MB = 1024 * 1024


class Rules(NamedTuple):
    """A deployment's access rules. `local`: running on a developer's own machine. `jwts`: JWTs are accepted.
    `base_url`: this gateway's origin if people can sign in to the dashboard, else ''."""

    master_key: str
    local: bool
    public_models: bool
    max_body_mb: float
    jwts: bool = False
    base_url: str = ""


class AuthorizedRequest(NamedTuple):
    """A request that passed the checks.

    `key`: the virtual key that was presented, not yet verified by the ledger. `token`: the JWT that was presented, not
    yet verified. Both are None for the master key and for endpoints that need no key. `person`: the credential of
    somebody who is signed in, for endpoints of the admin API only.
    """

    endpoint: Endpoint
    key: str | None = None
    token: str | None = None
    person: dict[str, str] | None = None


def admit(method: str, path: str, header: Callable[[str], str | None], rules: Rules) -> AuthorizedRequest:
    """Authorizes a request. Raises ApiError 400, 401, 404, 405, 413, 426 or 503."""
    endpoint = endpoints.find(method, path, header("upgrade"))
    if endpoint.public:
        return AuthorizedRequest(endpoint)
    refusal = refusal_to_serve(rules)
    if refusal is not None:
        raise refusal
    given = presented_key(header)
    if given is None and endpoint.admin and rules.base_url:
        person = _person(method, header, rules.base_url)
        if person is not None:
            _check_length(header("content-length"), rules.max_body_mb)
            return AuthorizedRequest(endpoint, person=person)
    virtual, token = virtual_key(given, rules.master_key), None
    if rules.jwts and given is not None and looks_like_a_jwt(given) and not same_secret(given, rules.master_key):
        token = given
    elif virtual is None and not (rules.public_models and endpoint.name in PUBLIC_MODELS):
        require_master_key(given, rules.master_key)
    _check_length(header("content-length"), rules.max_body_mb)
    return AuthorizedRequest(endpoint, virtual, token)


def _person(method: str, header: Callable[[str], str | None], base_url: str) -> dict[str, str] | None:
    # imported on first use, as most deployments have no sign-in

    return credential(method, header, base_url)


def refusal_to_serve(rules: Rules) -> ApiError | None:
    """Returns the reason to serve nothing but health.

    Each call creates a new error, because raising a stored one would keep its frames alive.
    """
    return refusal_without_master_key(rules.master_key, local=rules.local)


def _check_length(content_length: str | None, max_body_mb: float) -> None:
    """Checks the declared length. A body without one is measured in the container, while it is read."""
    if content_length is None:
        return
    if not (content_length.isascii() and content_length.isdigit()):
        raise invalid_request("The Content-Length header is not a number.")
    if int(content_length) > max_body_mb * BYTES_PER_MB:
        raise body_too_large(max_body_mb)


# Sessions of the dashboard: the cookie, and what protects it from other sites' pages.
#
# On https the cookie has the prefix `__Host-`: it is sent to this host only, over TLS only, and no other host can set
# it. On a loopback address with http it has the same name without the prefix, because browsers refuse the prefix there.
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes

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
