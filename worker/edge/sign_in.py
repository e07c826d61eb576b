"""The dashboard's endpoints for sign-in, at the edge. Imported with the first request for one of them."""

import time
from collections.abc import Mapping
from typing import Any

from core.api.errors import refused, unknown_path
from core.protocol import MASTER, EdgeGrant
from core.shared_settings import derived
from core.sign_in import flow
from core.sign_in.flow import SignIn
from core.sign_in.settings import SignInSettings

from .admission import Presented
from .messages import Client
from .runtime.javascript import NULL, js, js_headers
from .runtime.log import log
from .stubs import LedgerClient, LedgerUnavailable, unavailable

_PURPOSE = b"sign-in"
# The owner of a person's request to a container, which must not take it for the master key's.
_PERSON = "person"


def made(settings: SignInSettings, secret: str, most_failures: int) -> SignIn:
    """Returns the isolate's `SignIn`."""
    from .tokens import TokenDoor

    own = derived(secret.encode("utf-8", "surrogatepass"), _PURPOSE, 32)
    return SignIn(settings, own, TokenDoor(), most_failures)


async def answer(sign_in: SignIn | None, ledger: LedgerClient, client: Client, name: str, path: str, query: str) -> Any:
    """Returns a JS response. `sign_in`: None if it is not configured. Raises ApiError 403, 404 or 503."""
    if sign_in is None:
        found = flow.off(name)
        if found is None:
            raise unknown_path(path)
    else:

        def failed(code: str, reason: str) -> None:
            log("warning", "sign_in_failed", request_id=client.id, code=code, reason=reason)

        sessions = _Sessions(ledger, client.id)
        header, address = client.headers.get, client.headers.get("cf-connecting-ip", "")
        found = await flow.answer(name, query, header, address, sign_in, sessions, time.time(), failed)
    body = NULL if not found.body or client.method == "HEAD" else found.body.decode()
    return js.Response.new(body, status=found.status, headers=js_headers(found.headers))


async def grant_of(ledger: LedgerClient, client: Client, person: dict[str, str]) -> tuple[EdgeGrant, Presented]:
    """Returns a grant for a person's request, and who it is. Raises ApiError 401, 403 or 503."""
    found = await _Sessions(ledger, client.id).call("identify", person)
    if not found["ok"]:
        raise refused(found)
    if found["operator"]:
        return EdgeGrant(owner=MASTER), Presented()
    return EdgeGrant(models=found["models"], owner=_PERSON), Presented(session=person)


class _Sessions:
    """For `flow.Sessions`."""

    def __init__(self, ledger: LedgerClient, request_id: str) -> None:
        self._ledger = ledger
        self._request_id = request_id

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.call("session", {"start": hash, "fields": dict(fields)})

    async def end(self, hash: str) -> None:
        await self.call("session", {"end": hash})

    async def who(self, hash: str) -> Mapping[str, Any]:
        return await self.call("session", {"who": hash})

    async def call(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ApiError 503."""
        try:
            return await self._ledger.call(method, fields)
        except LedgerUnavailable as error:
            raise unavailable(error, self._request_id) from None
