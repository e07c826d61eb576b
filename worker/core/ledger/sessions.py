"""Sessions of people who have signed in to the dashboard.

A session's id is random, and only its hash is stored. A session ends when it is not used for a while, at its absolute
end, when its user signs out, is blocked or deleted, or when an operator revokes it; each of them at once, because every
call looks the session up.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..values.fields import FieldError, only
from . import decision, owners
from .accounts import user_account
from .decision import Decision, Dialect, Result, Steps
from .owners import OF_KIND, USER

# A session's last use is written at most this often, in milliseconds.
_SEEN_EVERY = 60_000
# An ended session is kept as long as its sign-in could be repeated.
_KEPT = 3_600_000
_COLUMNS = "user_id, name, email, role, teams, admin_of, seen, idle, expires"


class Session(NamedTuple):
    """`role`: LiteLLM's, '' for the user's own in the ledger. `teams`, `admin_of`: those that the provider has told.
    `seen`: its last use; `idle`: how long it may be unused; `expires`: its absolute end."""

    user_id: str
    name: str
    email: str
    role: str
    teams: tuple[str, ...]
    admin_of: tuple[str, ...]
    seen: int
    idle: int
    expires: int

    @property
    def end(self) -> int:
        return min(self.expires, self.seen + self.idle)


def start(dialect: Dialect, hash: str, login: str, session: Session, now: int) -> Decision:
    """Starts a session: {"ok": True} or a refusal. Makes the user if the ledger does not know it.

    `login`: identifies the sign-in, which starts one session at most.
    """
    return Decision(_start(dialect, hash, login, session, now), transaction=True)


def end(hash: str, now: int) -> Decision:
    """Ends a session: {"ok": True}, whether it exists or not."""
    return Decision(_end(hash, now), transaction=True)


def current(hash: str, now: int) -> Steps:
    """Returns (session, None) or (None, refusal), and notes that the session is used."""
    rows = yield f"SELECT {_COLUMNS} FROM ledger_sessions WHERE hash = ?", (hash,)
    if not rows:
        return None, ended()
    found = Session._make(rows[0])
    found = found._replace(teams=tuple(json.loads(rows[0][4])), admin_of=tuple(json.loads(rows[0][5])))
    if found.end <= now:
        return None, ended()
    if now - found.seen >= _SEEN_EVERY:
        yield "UPDATE ledger_sessions SET seen = ? WHERE hash = ?", (now, hash)
        found = found._replace(seen=now)
    return found, None


def ended() -> Result:
    return decision.refuse(401, "authentication_error", "Sign in again: this session has ended.", code="session_ended")


def revoke(dialect: Dialect, body: Mapping[str, Any], now: int) -> Decision:
    """`POST /dashboard/sessions/revoke`: ends all sessions of `user_id`. Raises FieldError."""
    only(body, ("user_id",))
    user_id = body.get("user_id")
    if not isinstance(user_id, str) or not user_id:
        raise FieldError("user_id", "'user_id' is missing.")
    return Decision(_revoke(dialect, user_id, now), transaction=True)


def _start(dialect: Dialect, hash: str, login: str, session: Session, now: int) -> Steps:
    for sql in dialect.lock:
        yield sql, ()
    yield "DELETE FROM ledger_sessions WHERE expires <= ? OR seen + idle <= ?", (now - _KEPT, now - _KEPT)
    used = yield "SELECT 1 FROM ledger_sessions WHERE login = ?", (login,)
    if used:
        return decision.invalid("This sign-in has been used already.", code="sign_in_used")
    account = user_account(session.user_id)
    rows = yield "SELECT blocked FROM ledger_owners WHERE account = ?", (account,)
    if rows and rows[0][0]:
        return decision.refuse(403, "permission_error", "This user is blocked.", code="user_blocked")
    if not rows:
        yield from _make_user(session, now)
    yield (
        f"INSERT INTO ledger_sessions (hash, login, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            hash,
            login,
            session.user_id,
            session.name,
            session.email,
            session.role,
            json.dumps(session.teams),
            json.dumps(session.admin_of),
            now,
            session.idle,
            session.expires,
        ),
    )
    return {"ok": True}


def _make_user(session: Session, now: int) -> Steps:
    """Makes the user's row. Its e-mail address stays out of it if another user has the same."""
    taken = yield "SELECT 1 FROM ledger_owners WHERE LOWER(email) = LOWER(?)", (session.email,)
    columns = {"alias": session.name or None, "email": None if taken else session.email or None}
    yield from owners.insert(OF_KIND[USER], session.user_id, columns, now)


def _end(hash: str, now: int) -> Steps:
    yield "UPDATE ledger_sessions SET expires = ? WHERE hash = ? AND expires > ?", (now, hash, now)
    return {"ok": True}


def _revoke(dialect: Dialect, user_id: str, now: int) -> Steps:
    for sql in dialect.lock:
        yield sql, ()
    ended = yield from owners.end_sessions(user_id, now)
    return {"ok": True, "body": {"user_id": user_id, "sessions_ended": ended}}
