"""The admin endpoints, such as `/key/*` and `/spend/*`: for the master key, and within their rights for people who are
signed in and for virtual keys. Also the dashboard's endpoints for sign-in, of which nothing runs unless it is
configured.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.core.api import admin
from worker.core.api.auth import credential
from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import refused, service_unavailable, unknown_path
from worker.core.ledger import callers
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.decision import Decision, Dialect
from worker.core.shared_settings import derived
from worker.core.sign_in import flow
from worker.core.sign_in.flow import SignIn
from worker.core.sign_in.settings import SignInSettings

from ..http_client.request import Proxies
from ..observability import log
from ..server.auth import client_address
from ..server.context import RequestContext
from ..server.settings import Network
from ..stores import LedgerUnavailable

if TYPE_CHECKING:
    from ..server.token_door import TokenDoor


Run = Callable[..., Awaitable[Any]]


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class Admin:
    """Runs admin calls on the ledger: `run` executes a decision in `dialect`, as `Ledger.run`.

    `policy` is the config's. `clock` returns milliseconds since 1970. `master_key` is None if there is none.
    """

    def __init__(
        self,
        run: Run,
        dialect: Dialect,
        policy: Policy,
        master_key: str | None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._decide = run
        self._dialect = dialect
        self._policy = policy
        self._master_key = master_key
        self._clock = clock

    async def __call__(self, context: RequestContext, endpoint: Endpoint) -> None:
        """Raises ApiError 403 before the body is read, 400 with the field's name, 404 for an unknown key, or 503."""
        if context.credential is None and not context.administrator:
            raise admin.operators_only()
        if admin.is_for_operators(endpoint.name) and context.key_hash is not None:
            raise admin.operators_only()
        body = await context.body(admin.ADMIN_BODY_MB)
        call = admin.call(endpoint, context.path, context.query, body, self._master_key)
        credential = None if context.administrator else context.credential
        result = await self._run(decide, self._dialect, self._policy, call, self._clock(), credential)
        if endpoint.methods == ("POST",):
            log.info("admin", request_id=context.id, call=endpoint.name, status=result.get("status", 200))
        # orjson cannot write integers over 64 bits, which a key's metadata may contain.
        context.respond(200, json.dumps(admin.answer(result)).encode(), admin.HEADERS)

    async def _run(self, make: Callable[..., Decision], *arguments: Any) -> dict[str, Any]:
        try:
            return await self._decide(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable(
                "The ledger's database cannot be used now. The operation may or may not have been done."
            ) from None


_PURPOSE = b"sign-in"
_UNAVAILABLE = "The ledger cannot be used now. Try again in a moment."


class SignInEndpoints:
    """`settings`: None if sign-in is not configured. `run`: as `Ledger.run`. `secret`: the gateway's own. `clock`:
    milliseconds since 1970."""

    def __init__(
        self,
        settings: SignInSettings | None,
        secret: str,
        run: Run | None,
        dialect: Dialect | None,
        *,
        connect_timeout: float,
        proxies: Proxies | None,
        trusted_proxies: Sequence[Network],
        most_failures: int,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings if run is not None else None
        self._secret = secret
        self._decide = run
        self._dialect = dialect
        self._connecting = connect_timeout, proxies
        self._trusted_proxies = trusted_proxies
        self._most_failures = most_failures
        self._clock = clock
        self._made: SignIn | None = None
        self._door: TokenDoor | None = None

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403, 404 or 503."""
        name = context.endpoint
        if self._settings is None:
            answer = flow.off(name)
            if answer is None:
                raise unknown_path(context.path)
        else:
            now = self._clock() / 1000

            def failed(code: str, reason: str) -> None:
                log.warning("sign_in_failed", request_id=context.id, code=code, reason=reason)

            address = client_address(context.request.remote, context.header, self._trusted_proxies)
            sign_in = self._sign_in(self._settings)
            answer = await flow.answer(name, context.query, context.header, address, sign_in, self, now, failed)
        fields = [header for header in answer.headers if header[0] != "content-type"]
        context.respond(answer.status, answer.body, fields)

    def recognize(self, context: RequestContext) -> bool:
        """Takes the session of a call without a key. Returns whether it has one. Raises ApiError 403."""
        if self._settings is None:
            return False
        context.person = credential(context.method, context.header, self._settings.base_url)
        return context.person is not None

    async def identify(self, context: RequestContext) -> None:
        """Looks up what a person may use. Raises ApiError 401, 403 or 503."""
        assert context.person is not None, "recognize() has found it"
        found = await self._run(callers.identify, context.person, self._clock())
        if not found["ok"]:
            raise refused(found)
        context.models, context.administrator = found["models"], found["operator"]

    def _sign_in(self, settings: SignInSettings) -> SignIn:
        if self._made is None:
            from ..server.token_door import TokenDoor

            connect_timeout, proxies = self._connecting
            self._door = TokenDoor(connect_timeout=connect_timeout, proxies=proxies)
            secret = derived(self._secret.encode("utf-8", "surrogatepass"), _PURPOSE, 32)
            self._made = SignIn(settings, secret, self._door, self._most_failures)
        return self._made

    async def close(self) -> None:
        if self._door is not None:
            await self._door.close()

    # For `flow.Sessions`.

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        session, login = callers.Session(**{name: fields[name] for name in callers.Session._fields}), fields["login"]
        assert self._dialect is not None, "there is a ledger"
        return await self._run(callers.start_session, self._dialect, hash, login, session, self._clock())

    async def end(self, hash: str) -> None:
        await self._run(callers.end_session, hash, self._clock())

    async def who(self, hash: str) -> Mapping[str, Any]:
        return await self._run(callers.who, hash, self._clock())

    async def _run(self, make: Callable[..., Decision], *arguments: Any) -> Any:
        assert self._decide is not None, "there is a ledger"
        try:
            return await self._decide(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable(_UNAVAILABLE) from None
