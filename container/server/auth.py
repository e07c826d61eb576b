"""Authentication: the edge's token, the master key, or a virtual key; the models that a key may use; and the address
whose wrong keys are counted.

On loopback without a master key, any client on this machine is allowed.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from worker.core.api.auth import (
    PUBLIC_MODELS,
    FailedAuthLimiter,
    looks_like_a_jwt,
    presented_key,
    refusal_without_master_key,
    require_master_key,
    same_secret,
)
from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import ApiError, forbidden, unauthenticated
from worker.core.ledger.keys import SECRET_PREFIX, allows, hash_secret
from worker.core.protocol import TOKEN_HEADER
from worker.core.shared_settings import public_models

from ..routing.router import RouteRequest
from .context import RequestContext
from .settings import Network, Settings

_PROBES = ("liveliness", "readiness")

# Counts a wrong key from an address, see `FailedAuthLimiter.failed`.
CountFailedKey = Callable[[str], Awaitable[tuple[int, bool]]]


def count_failed_keys(most_per_minute: int) -> CountFailedKey:
    """Return what counts the wrong keys that this process is shown."""
    limiter = FailedAuthLimiter(most_per_minute)

    async def count(address: str) -> tuple[int, bool]:
        return limiter.failed(address, time.monotonic())

    return count


class Authenticator:
    def __init__(
        self,
        settings: Settings,
        master_key: str | None,
        allowed_origins: tuple[str, ...],
        *,
        virtual_keys: bool = False,
        jwts: bool = False,
    ) -> None:
        """`virtual_keys`: the ledger holds virtual keys besides the master key. `jwts`: JWTs are accepted."""
        self._virtual_keys = virtual_keys
        self._jwts = jwts
        self._token = settings.internal_token
        self._master_key = master_key
        loopback = is_loopback(settings.host)
        self._keyless = not master_key and not jwts and (loopback or settings.allow_anonymous)
        self._strangers = self._keyless and not loopback
        public = public_models(settings.public_models, local=settings.local_development)
        self._public_models = public or self._keyless
        self._public_metrics = settings.metrics_public
        self._allowed_origins = allowed_origins
        local = settings.local_development or is_loopback(settings.host)
        self._refusal = None if self._keyless else refusal_without_master_key(master_key, local=local)

    @property
    def refusal(self) -> str | None:
        """Why only health endpoints are served, or None."""
        return self._refusal.message if self._refusal else None

    def check(self, context: RequestContext, endpoint: Endpoint) -> None:
        """Raise ApiError 401, 403 or 503 unless the request may proceed.

        A token that looks like a virtual key is hashed into `context.key_hash`; the ledger decides whether it exists.
        One that looks like a JWT becomes `context.token`, which has to be verified before anything else is done.
        """
        if self._token is not None:
            if endpoint.name not in _PROBES:
                self.require_token(context)
            return
        if endpoint.public or (self._public_metrics and endpoint.name == "metrics"):
            return
        if self._refusal is not None:
            raise ApiError(
                self._refusal.status, self._refusal.type, self._refusal.message, headers=self._refusal.headers
            )
        if self._strangers:
            return  # anonymous clients spend the global budget and have no admin access
        if self._keyless:
            context.administrator = True
            self._refuse_web_pages(context.header("origin"), context.header("host") or "")
            return
        assert self._master_key is not None
        given = presented_key(context.header)
        if given is not None and not same_secret(given, self._master_key):
            if self._virtual_keys and given.startswith(SECRET_PREFIX):
                context.key_hash = hash_secret(given)  # the ledger decides whether the key exists
                return
            if self._jwts and looks_like_a_jwt(given):
                context.token = given
                return
        if self._public_models and endpoint.name in PUBLIC_MODELS:
            return
        require_master_key(given, self._master_key)
        context.administrator = True

    def require_token(self, context: RequestContext) -> None:
        """Raise ApiError 401 unless the request comes from the edge."""
        if self._token is None or not same_secret(context.header(TOKEN_HEADER) or "", self._token):
            raise unauthenticated("This proxy accepts requests from its edge only.")

    def _refuse_web_pages(self, origin: str | None, host: str) -> None:
        """Without keys, a web page open on this machine must not be able to spend money.

        Reject foreign origins (a plain POST needs no preflight) and host names that resolve here (DNS rebinding). The
        gateway's own page is allowed.
        """
        known = (f"http://{host}", *self._allowed_origins)
        if origin is not None and origin not in known and "*" not in known:
            raise forbidden(f"Web pages at {origin[:200]} may not call this gateway; see CORS_ALLOW_ORIGINS.")
        if not _is_this_machine(host):
            raise forbidden("Without a LITELLM_MASTER_KEY this gateway accepts requests to localhost only.")


def check_models(context: RequestContext, route: RouteRequest) -> None:
    """Raises ApiError 403 if the key may not use the model or a fallback that the request names."""
    for name in route.names:
        if not allows(context.models, name):
            raise forbidden(f"This key may not use the model '{name[:200]}'.")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_this_machine(host: str) -> bool:
    """Return False for a name that foreign DNS could point here; True for localhost and for IP addresses."""
    try:
        name = urlsplit("//" + host).hostname or ""
        if name != "localhost":
            ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def client_address(peer: str | None, header: Callable[[str], str | None], trusted: Sequence[Network]) -> str:
    """Return the nearest `X-Forwarded-For` address that is not a trusted proxy; '' for a socket without addresses.

    `header` must return all lines of a header, joined with commas, because a proxy may append its own line to the
    client's. The header is ignored unless the peer is a trusted proxy.
    """
    address = peer or ""
    if not trusted or not _among(address, trusted):
        return address
    for named in reversed((header("x-forwarded-for") or "").split(",")):
        named = _without_port(named.strip())
        if not named:
            continue
        address = named
        if not _among(named, trusted):
            break
    return address


def _without_port(named: str) -> str:
    """Strip the port that some proxies add (`192.0.2.1:5000`). It changes with every connection."""
    if named.startswith("["):
        return named[1:].partition("]")[0]
    host, _, port = named.partition(":")
    return host if port.isdigit() else named


def _among(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
