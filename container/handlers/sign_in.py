"""The dashboard's endpoints for sign-in, alone. `worker.core.sign_in` decides; nothing of it runs unless it is
configured.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from worker.core.api.errors import refused, service_unavailable, unknown_path
from worker.core.api.session import credential
from worker.core.ledger import callers, sessions
from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect
from worker.core.sign_in import endpoints
from worker.core.sign_in.settings import SignInSettings
from worker.core.values.derived_secrets import derived

from ..http_client.proxies import Proxies
from ..ledger.store import LedgerUnavailable
from ..observability import log
from ..server.context import RequestContext

if TYPE_CHECKING:
    from worker.core.sign_in.flow import SignIn

    from ..server.token_door import TokenDoor

Run = Callable[..., Awaitable[Any]]
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
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings if run is not None else None
        self._secret = secret
        self._decide = run
        self._dialect = dialect
        self._connecting = connect_timeout, proxies
        self._clock = clock
        self._made: SignIn | None = None
        self._door: TokenDoor | None = None

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403, 404 or 503."""
        name = context.endpoint
        if self._settings is None:
            answer = endpoints.off(name)
            if answer is None:
                raise unknown_path(context.path)
        else:
            now = self._clock() / 1000

            def failed(code: str, reason: str) -> None:
                log.warning("sign_in_failed", request_id=context.id, code=code, reason=reason)

            answer = await endpoints.answer(
                name, context.query, context.header, self._sign_in(self._settings), self, now, failed
            )
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

    def _sign_in(self, settings: SignInSettings) -> "SignIn":
        if self._made is None:
            from worker.core.sign_in.flow import SignIn

            from ..server.token_door import TokenDoor

            connect_timeout, proxies = self._connecting
            self._door = TokenDoor(connect_timeout=connect_timeout, proxies=proxies)
            secret = derived(self._secret.encode("utf-8", "surrogatepass"), _PURPOSE, 32)
            self._made = SignIn(settings, secret, self._door)
        return self._made

    async def close(self) -> None:
        if self._door is not None:
            await self._door.close()

    # For `endpoints.Sessions`.

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        session, login = sessions.Session(**{name: fields[name] for name in sessions.Session._fields}), fields["login"]
        assert self._dialect is not None, "there is a ledger"
        return await self._run(sessions.start, self._dialect, hash, login, session, self._clock())

    async def end(self, hash: str) -> None:
        await self._run(sessions.end, hash, self._clock())

    async def who(self, hash: str) -> Mapping[str, Any]:
        return await self._run(callers.who, hash, self._clock())

    async def _run(self, make: Callable[..., Decision], *arguments: Any) -> Any:
        assert self._decide is not None, "there is a ledger"
        try:
            return await self._decide(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable(_UNAVAILABLE) from None
