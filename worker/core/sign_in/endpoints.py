"""The dashboard's endpoints for sign-in, the same at both doors: `GET /dashboard/session`, `GET /dashboard/sign-in`,
`GET /dashboard/sign-in/callback`, `POST /dashboard/sign-out`.

Nothing but the callback, which needs the cookie of a sign-in, changes anything by a GET.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs

from ..api import session
from ..api.errors import ApiError
from ..api.session import SESSION, Header
from . import flow
from .flow import DASHBOARD, PROBLEMS, START, Identity, Problem, SignIn

_NO_STORE = ("cache-control", "no-store")
_OFF: dict[str, Any] = {"sign_in": None, "error": None, "user": None}


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


class Sessions(Protocol):
    """What the ledger does with sessions. Raises ApiError 503 if it is not available."""

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns a result of `ledger.callers.start_session`. `fields`: of `ledger.callers.Session`, and `login`."""
        ...

    async def end(self, hash: str) -> None: ...

    async def who(self, hash: str) -> Mapping[str, Any]:
        """Returns a result of `ledger.callers.who`."""
        ...


Log = Callable[[str, str], None]


def off(name: str) -> Response | None:
    """Returns the response where sign-in is not configured; None if the path does not exist then."""
    return _json(_OFF) if name == "session" else None


async def answer(
    name: str, query: str, header: Header, address: str, signing_in: SignIn, sessions: Sessions, now: float, log: Log
) -> Response:
    """`name`: one of `api.endpoints.SIGN_IN`. `address`: the client's. `now`: seconds since 1970. `log(code, reason)`:
    notes a failed sign-in.

    Raises ApiError 403 and 503.
    """
    base_url = signing_in.settings.base_url
    match name:
        case "session":
            hash = session.presented(header, base_url)
            found = await sessions.who(hash) if hash else {"ok": False}
            code = parse_qs(query).get("sign_in_error", [""])[0]
            user = found["user"] if found["ok"] else None
            return _json({"sign_in": START, "error": PROBLEMS.get(code), "user": user})
        case "sign_out":
            session.require_own_page(header, base_url)
            hash = session.presented(header, base_url)
            if hash:
                await sessions.end(hash)
            leads_to = await signing_in.leave(now) if hash else None
            return _json(
                {"signed_out": True, "continue_at": leads_to},
                session.set_cookie(SESSION, "", base_url, seconds=0, strict=True),
            )
    try:
        if name == "sign_in":
            leads_to, cookie = await signing_in.start(query, now)
            return _redirect(leads_to, cookie)
        identity = await signing_in.finish(query, header, address, now)
        cookie = await _started(signing_in, identity, sessions, now)
    except Problem as problem:
        log(problem.code, problem.reason or PROBLEMS[problem.code])
        # The cookie of a sign-in is used up, whatever has become of it.
        cleared = [signing_in.clear()] if name == "sign_in_callback" else []
        return _redirect(flow.failed_at(problem), *cleared)
    old = session.presented(header, base_url)
    if old:
        await sessions.end(old)
    return _redirect(identity.back, cookie, signing_in.clear())


async def _started(signing_in: SignIn, identity: Identity, sessions: Sessions, now: float) -> tuple[str, str]:
    """Starts a session and returns its cookie. Its id is new, whatever the browser has sent. Raises Problem."""
    settings = signing_in.settings
    id = flow.new_id()
    fields = {
        "user_id": identity.user_id,
        "name": identity.name,
        "email": identity.email,
        "role": identity.role,
        "teams": identity.teams,
        "admin_of": identity.admin_of,
        "seen": int(now * 1000),
        "idle": int(settings.idle_minutes * 60_000),
        "expires": int((now + settings.hours * 3600) * 1000),
        "login": identity.login,
    }
    try:
        result = await sessions.start(session.hashed(id), fields)
    except ApiError:
        raise Problem("ledger") from None
    if not result["ok"]:
        raise Problem("used" if result["code"] == "sign_in_used" else "blocked")
    seconds = int(settings.hours * 3600)
    return session.set_cookie(SESSION, id, settings.base_url, seconds=seconds, strict=True)


def _json(body: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    return Response(200, [("content-type", "application/json"), _NO_STORE, *headers], json.dumps(body).encode())


def _redirect(address: str, *headers: tuple[str, str]) -> Response:
    assert address.startswith((DASHBOARD, "https://", "http://")), "our own page, or the provider"
    return Response(302, [("location", address), _NO_STORE, ("referrer-policy", "no-referrer"), *headers])
