"""Who makes a call of the admin API: sessions of people who have signed in to the dashboard, people, and virtual keys.

A credential is plain JSON, so that it can be sent to a Durable Object: {"key": the hash of a virtual key's secret},
{"session": the hash of a session's id}, or {"person": {"user_id", "role", "teams", "admin_of"}}, which a door has read
from a token that it trusts: `role` is LiteLLM's, '' for the user's own in the ledger, and the teams are added to those
that the ledger knows. `permissions` says how far the call reaches.

A session's id is random, and only its hash is stored. A session ends when it is not used for a while, at its absolute
end, when its user signs out, is blocked or deleted, or when an operator revokes it; each of them at once, because every
call looks the session up.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..api.admin import MANAGEMENT, AdminCaller
from ..values import periods
from ..values.fields import FieldError, only
from . import decision, keys, owners
from .accounts import kind_of, team_account, user_account
from .decision import Decision, Dialect, Result, Steps, marks
from .owners import OF_KIND, USER

Credential = Mapping[str, Any]

# LiteLLM's roles of users. Others, and none, are a member's.
_OPERATORS = ("proxy_admin", "proxy_admin_viewer")
_VIEWERS = ("proxy_admin_viewer", "internal_user_viewer")
# A Durable Object's statement takes 100 parameters.
_AT_ONCE = 50
BY_SECRET = f"SELECT s.expires, {keys.COLUMNS} FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id"
# A session's last use is written at most this often, in milliseconds.
_SEEN_EVERY = 60_000
# An ended session is kept as long as its sign-in could be repeated.
_KEPT = 3_600_000
_COLUMNS = "user_id, name, email, role, teams, admin_of, seen, idle, expires"


def resolve(credential: Credential, now: int) -> Steps:
    """Returns (caller, None) or (None, refusal)."""
    if "key" in credential:
        return (yield from _of_a_key(credential["key"], now))
    if "session" in credential:
        found, refused = yield from _current_session(credential["session"], now)
        if refused:
            return None, refused
        return (yield from person(found.user_id, found.role, found.teams, found.admin_of, known=True))
    told = credential["person"]
    teams = told.get("teams", ()), told.get("admin_of", ())
    return (yield from person(told["user_id"], told.get("role", ""), *teams))


def _of_a_key(secret_hash: str, now: int) -> Steps:
    rows = yield f"{BY_SECRET} WHERE s.hash = ?", (secret_hash,)
    found = keys.key(rows[0][1:]) if rows else None
    if (
        found is None
        or found.blocked
        or (found.expires is not None and found.expires <= now)
        or (rows[0][0] is not None and rows[0][0] <= now)
    ):
        return None, decision.unauthenticated("This API key is not valid here.")
    teams = (found.team_id,) if found.team_id else ()
    if found.key_type == MANAGEMENT:
        accounts = team_account(found.team_id), user_account(found.user_id)
        rows = yield "SELECT account FROM ledger_owners WHERE account IN (?, ?) AND blocked <> 0", accounts
        if rows:
            return None, forbidden(f"The {kind_of(rows[0][0])[0]} of this key is blocked.")
    return AdminCaller(key_id=found.id, key_type=found.key_type, teams=teams), None


def person(
    user_id: str, role: str, teams: Iterable[str] = (), admin_of: Iterable[str] = (), *, known: bool = False
) -> Steps:
    """Returns (caller, None) or (None, refusal). `known`: the user has to be in the ledger."""
    rows = yield "SELECT role, blocked FROM ledger_owners WHERE account = ?", (user_account(user_id),)
    if not user_id or (known and not rows):
        return None, session_ended()
    if rows and rows[0][1]:
        return None, session_ended() if known else forbidden("This user is blocked.")
    role = role or (rows[0][0] if rows else "") or ""
    member, admin = yield from memberships(user_id)
    told = [team for team in (*teams, *admin_of) if team not in member]
    exist: set[str] = set()
    for first in range(0, len(told), _AT_ONCE):
        some = [team_account(team) for team in told[first : first + _AT_ONCE]]
        found = yield f"SELECT account FROM ledger_owners WHERE account IN ({marks(len(some))})", tuple(some)
        exist |= {row[0].removeprefix("team:") for row in found}
    every = sorted({*member, *exist})
    administered = sorted({*admin, *(team for team in admin_of if team in every)})
    return (
        AdminCaller(
            operator=role in _OPERATORS,
            reads_only=role in _VIEWERS,
            user_id=user_id,
            teams=tuple(every),
            admin_of=tuple(administered),
        ),
        None,
    )


def memberships(user_id: str) -> Steps:
    """Returns the teams whose member a user is, and those of them that it administers."""
    # Not LIKE, whose patterns a Durable Object limits to 50 bytes. Every match is parsed.
    quoted = json.dumps(user_id)
    rows = yield (
        "SELECT account, members FROM ledger_owners WHERE account LIKE 'team:%' AND REPLACE(members, ?, '') <> members",
        (quoted,),
    )
    member, admin = [], []
    for account, members in rows:
        roles = {one["role"] for one in json.loads(members) if one["user_id"] == user_id}
        if roles:
            member.append(account.removeprefix("team:"))
            if "admin" in roles:
                admin.append(member[-1])
    return member, admin


def forbidden(message: str) -> Result:
    return decision.refuse(403, "permission_error", message)


# Sessions.


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


def start_session(dialect: Dialect, hash: str, login: str, session: Session, now: int) -> Decision:
    """Starts a session: {"ok": True} or a refusal. Makes the user if the ledger does not know it.

    `login`: identifies the sign-in, which starts one session at most.
    """
    return Decision(_start_session(dialect, hash, login, session, now), transaction=True)


def end_session(hash: str, now: int) -> Decision:
    """Ends a session: {"ok": True}, whether it exists or not."""
    return Decision(_end_session(hash, now), transaction=True)


def _current_session(hash: str, now: int) -> Steps:
    """Returns (session, None) or (None, refusal), and notes that the session is used."""
    rows = yield f"SELECT {_COLUMNS} FROM ledger_sessions WHERE hash = ?", (hash,)
    if not rows:
        return None, session_ended()
    found = Session._make(rows[0])
    found = found._replace(teams=tuple(json.loads(rows[0][4])), admin_of=tuple(json.loads(rows[0][5])))
    if found.end <= now:
        return None, session_ended()
    if now - found.seen >= _SEEN_EVERY:
        yield "UPDATE ledger_sessions SET seen = ? WHERE hash = ?", (now, hash)
        found = found._replace(seen=now)
    return found, None


def session_ended() -> Result:
    return decision.refuse(401, "authentication_error", "Sign in again: this session has ended.", code="session_ended")


def revoke_sessions(dialect: Dialect, body: Mapping[str, Any], now: int) -> Decision:
    """`POST /dashboard/sessions/revoke`: ends all sessions of `user_id`. Raises FieldError."""
    only(body, ("user_id",))
    user_id = body.get("user_id")
    if not isinstance(user_id, str) or not user_id:
        raise FieldError("user_id", "'user_id' is missing.")
    return Decision(_revoke_sessions(dialect, user_id, now), transaction=True)


def _start_session(dialect: Dialect, hash: str, login: str, session: Session, now: int) -> Steps:
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


def _end_session(hash: str, now: int) -> Steps:
    yield "UPDATE ledger_sessions SET expires = ? WHERE hash = ? AND expires > ?", (now, hash, now)
    return {"ok": True}


def _revoke_sessions(dialect: Dialect, user_id: str, now: int) -> Steps:
    for sql in dialect.lock:
        yield sql, ()
    ended = yield from owners.end_sessions(user_id, now)
    return {"ok": True, "body": {"user_id": user_id, "sessions_ended": ended}}


def who(hash: str, now: int) -> Decision:
    """Returns who is signed in: {"ok": True, "user": what `GET /dashboard/session` shows}, or a refusal."""
    return Decision(_who(hash, now), whole=True)


def _who(hash: str, now: int) -> Steps:
    found, refused = yield from _current_session(hash, now)
    if refused:
        return refused
    caller, refused = yield from person(found.user_id, found.role, found.teams, found.admin_of, known=True)
    if refused:
        return refused
    aliases: dict[str, str | None] = {}
    for first in range(0, len(caller.teams), _AT_ONCE):
        some = [team_account(team) for team in caller.teams[first : first + _AT_ONCE]]
        rows = yield f"SELECT account, alias FROM ledger_owners WHERE account IN ({marks(len(some))})", tuple(some)
        aliases |= {row[0].removeprefix("team:"): row[1] for row in rows}
    teams = [
        {"team_id": team, "team_alias": aliases.get(team), "role": "admin" if team in caller.admin_of else "user"}
        for team in caller.teams
    ]
    return {
        "ok": True,
        "user": {
            "user_id": found.user_id,
            "name": found.name or None,
            "email": found.email or None,
            "role": "operator" if caller.operator else caller.role,
            "reads_only": caller.reads_only,
            "teams": teams,
            "expires_at": periods.iso(found.end),
        },
    }
