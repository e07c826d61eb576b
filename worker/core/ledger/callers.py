"""Who makes a call of the admin API, and how far it reaches if the caller is no operator: sessions of people who have
signed in to the dashboard, people, and virtual keys. `api.admin` has the rules.

A credential is plain JSON, so that it can be sent to a Durable Object: {"key": the hash of a virtual key's secret},
{"session": the hash of a session's id}, or {"person": {"user_id", "role", "teams", "admin_of"}}, which a door has read
from a token that it trusts: `role` is LiteLLM's, '' for the user's own in the ledger, and the teams are added to those
that the ledger knows.

Everything is looked up inside the call's own decision, so that neither the caller's rights nor the owner of a key can
change between the check and the change.

A session's id is random, and only its hash is stored. A session ends when it is not used for a while, at its absolute
end, when its user signs out, is blocked or deleted, or when an operator revokes it; each of them at once, because every
call looks the session up.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..api.admin import KEY_FIELDS, MANAGEMENT, READS_BY_POST, AdminCaller, call_refusal, may_touch
from ..values import periods
from ..values.fields import FieldError, only
from . import decision, keys, owners
from .accounts import Policy, kind_of, team_account, user_account
from .decision import Decision, Dialect, Result, Row, Scope, Steps, marks
from .keys import Key
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


# How far a call reaches.

Call = Mapping[str, Any]
_LIMITS = ("max_budget", "rpm_limit", "tpm_limit", "max_parallel_requests")
_BUDGET_FIELDS = (*_LIMITS, "soft_budget", "budget_duration", "models")
_NOT_YOURS = "This key does not exist, or it is not yours."
# What a plain member sees of a team: nothing about the other members, their keys and their spending.
_OF_A_TEAM = frozenset(
    (
        "team_id", "team_alias", "models", "model_aliases", "max_budget", "budget_duration", "rpm_limit", "tpm_limit",
        "max_parallel_requests", "blocked",
    )
)  # fmt: skip

# What the admin of a team sees of a user.
_OF_A_USER = ("user_id", "user_alias", "user_email")


class _Bound(NamedTuple):
    """The limits of a team or a user, within which its keys have to be. `what`: its name in messages."""

    what: str
    models: str
    limits: Mapping[str, int | None]
    blocked: bool
    exists: bool


def restricted(
    dialect: Dialect,
    policy: Policy,
    credential: Credential,
    call: Call,
    now: int,
    decide: Callable[[Call, Scope | None], Decision],
) -> Decision:
    """Returns the decision for a call by `credential`. `decide`: what an operator's call does, within a scope."""
    reads = call["body"] is None or call["name"] in READS_BY_POST
    steps = _restricted(dialect, policy, credential, call, now, decide, reads)
    return Decision(steps, transaction=not reads, whole=reads)


def identify(credential: Credential, now: int) -> Decision:
    """Returns who is calling: {"ok": True, "operator", "models"}, the models that it may use as JSON, or a refusal."""
    return Decision(_identify(credential, now), whole=True)


def _identify(credential: Credential, now: int) -> Steps:
    caller, refused = yield from resolve(credential, now)
    if refused:
        return refused
    refusal = call_refusal(caller, "model_info", reads=True)
    if refusal:
        return forbidden(refusal)
    models = "[]" if caller.operator else (yield from _models_of(caller))
    return {"ok": True, "operator": caller.operator, "models": models}


def _models_of(caller: AdminCaller) -> Steps:
    """Returns the models that a person may use in some key, as JSON. An empty list means all."""
    own = yield from _bounds(caller.user_id, "", None)
    if own and own[0].models != "[]":
        return own[0].models
    found: list[str] = []
    for team in caller.teams:
        for bound in (yield from _bounds("", team, None)):
            if bound.models == "[]":
                return "[]"
            found += json.loads(bound.models)
    return json.dumps(list(dict.fromkeys(found)))


def _restricted(
    dialect: Dialect,
    policy: Policy,
    credential: Credential,
    call: Call,
    now: int,
    decide: Callable[[Call, Scope | None], Decision],
    reads: bool,
) -> Steps:
    for sql in dialect.lock if not reads or call["name"] == "key_info" else ():
        yield sql, ()
    caller, refused = yield from resolve(credential, now)
    if refused:
        return refused
    refusal = call_refusal(caller, call["name"], reads=reads)
    if refusal:
        return forbidden(refusal)
    scope = None
    if not caller.operator:
        scope = Scope(caller.user_id, caller.teams if caller.key_id else caller.admin_of)
        try:
            call, refused = yield from _narrowed(caller, policy, call, now)
        except FieldError as error:
            return decision.invalid(error.message, error.param)
        if refused:
            return refused
    result = yield from decide(call, scope).steps
    if caller.operator or caller.key_id or not result["ok"]:
        return result
    return {**result, "body": _without_others(caller, result["body"])}


def _narrowed(caller: AdminCaller, policy: Policy, call: Call, now: int) -> Steps:
    """Returns (the call, None) as far as it reaches for a caller who is no operator, or (None, refusal)."""
    name, query, body = call["name"], dict(call["query"]), dict(call["body"] or {})
    match name:
        case "key_generate":
            return (yield from _generated(caller, policy, call, body, now))
        case "key_update" | "key_regenerate":
            named = call["key"] if name == "key_regenerate" else body.get("key")
            return (yield from _changed(caller, policy, call, body, named, now))
        case "key_delete":
            refused = yield from _all_theirs(caller, body)
            return call, refused
        case "key_block" | "key_unblock":
            _, refused = yield from _theirs(caller, "s.hash", body.get("key"), reads=False)
            return call, refused
        case "key_info":
            named = query.get("key")
            if not named and caller.key_id and caller.role == "key":
                rows = yield "SELECT hash FROM ledger_secrets WHERE key_id = ? AND expires IS NULL", (caller.key_id,)
                return {**call, "query": {**query, "key": rows[0][0]}}, None
            _, refused = yield from _theirs(caller, "s.hash", named, reads=True)
            return call, refused
        case "team_info":
            team = query.get("team_id") or (caller.teams[0] if caller.key_id else "")
            return {**call, "query": {**query, "team_id": team}}, _not_in(caller.teams, team)
        case "team_member_add" | "team_member_update" | "team_member_delete":
            return call, _not_in(caller.admin_of, body.get("team_id"))
        case "team_list" | "user_info":
            asked = query.get("user_id")
            if asked and asked != caller.user_id:
                return None, forbidden("You can only look at yourself.")
            return {**call, "query": {**query, "user_id": caller.user_id}}, None
    return call, None  # its scope limits it


def _not_in(teams: Iterable[str], team: Any) -> Result | None:
    if isinstance(team, str) and team in teams:
        return None
    return forbidden("This team does not exist, or it is not yours.")


def _theirs(caller: AdminCaller, column: str, name: Any, *, reads: bool) -> Steps:
    """Returns (key, None), or (None, refusal) for a key that the caller may not touch. It does not tell which of these
    keys exist."""
    if not isinstance(name, str) or not name:
        raise FieldError("key", "'key' is missing.")
    value = keys.reference(name) if column == "s.hash" else name
    rows = yield f"{BY_SECRET} WHERE {column} = ?", (value,)
    found = keys.key(rows[0][1:]) if rows else None
    if found is None or not may_touch(
        caller,
        user_id=found.user_id,
        team_id=found.team_id,
        key_id=found.id,
        key_type=found.key_type,
        reads=reads,
    ):
        return None, forbidden(_NOT_YOURS)
    return found, None


def _all_theirs(caller: AdminCaller, body: Mapping[str, Any]) -> Steps:
    for field, column in (("keys", "s.hash"), ("key_aliases", "k.alias")):
        names = body.get(field)
        if names is None:
            continue
        if not isinstance(names, list) or len(names) > _AT_ONCE:
            return decision.invalid(f"'{field}' has to be an array of at most {_AT_ONCE} keys.", field)
        for name in names:
            _, refused = yield from _theirs(caller, column, name, reads=False)
            if refused:
                return refused
    return None


def _generated(caller: AdminCaller, policy: Policy, call: Call, body: dict[str, Any], now: int) -> Steps:
    fields = {name: value for name, value in body.items() if value is not None}
    refused = _unsettable(fields)
    if refused:
        return None, refused
    team, user = fields.get("team_id") or "", caller.user_id
    if not team and caller.key_id:
        team = caller.teams[0]
    if not team and user and not (yield from _has_budget(policy, user)):
        if len(caller.teams) != 1:
            which = "'team_id' is missing: the key has to belong to one of your teams."
            none = "You are in no team and have no budget of your own, so you cannot make keys."
            return None, forbidden(none) if not caller.teams else decision.invalid(which, "team_id")
        team = caller.teams[0]
    if team:
        refused = _not_in(caller.teams, team)
        if refused:
            return None, refused
    if fields.get("user_id") not in (None, "", user):
        return None, forbidden("You can only make keys for yourself.")
    if user and fields.get("user_id") == "":
        if team not in caller.admin_of:
            return None, forbidden("Only an admin of its team can make a key that is nobody's own.")
        user = ""  # a key of the team's
    refused = _wrong_type(caller, fields.get("key_type"), team)
    if refused:
        return None, refused
    fields = {**fields, "team_id": team, "user_id": user}
    fields = {name: value for name, value in fields.items() if value != "" or name not in ("team_id", "user_id")}
    bounds = yield from _bounds(user, team, policy)
    refused = _outside(bounds, fields, now, whole=True)
    return {**call, "body": _with_models(bounds, fields)}, refused


def _changed(caller: AdminCaller, policy: Policy, call: Call, body: dict[str, Any], named: Any, now: int) -> Steps:
    found, refused = yield from _theirs(caller, "s.hash", named, reads=False)
    if refused:
        return None, refused
    assert isinstance(found, Key)
    # null unsets a field, so it counts as set.
    fields = {name: value for name, value in body.items() if name != "key"}
    refused = _unsettable(fields)
    if refused:
        return None, refused
    for name, value in (("user_id", found.user_id), ("team_id", found.team_id)):
        if name in fields and (fields[name] or "") != value:
            return None, forbidden(f"Only an operator can change the '{name}' of a key.")
        fields.pop(name, None)
    if "key_type" in fields:
        refused = _wrong_type(caller, fields["key_type"], found.team_id)
        if refused:
            return None, refused
    bounds = yield from _bounds(found.user_id, found.team_id, policy)
    touched = any(name in fields for name in (*_BUDGET_FIELDS, "duration"))
    in_a_team = bool(found.team_id) and bounds[0].exists  # a deleted team limits nothing
    if touched and not in_a_team and not (yield from _has_budget(policy, found.user_id)):
        return None, forbidden("Only an operator can change the limits of a key whose user has no budget.")
    refused = _outside(bounds, fields, now)
    if "models" in fields:
        fields = _with_models(bounds, fields)
    kept = {"key": body["key"]} if "key" in body else {}
    return {**call, "body": {**kept, **fields}}, refused


def _unsettable(fields: Mapping[str, Any]) -> Result | None:
    for name in fields:
        if name not in KEY_FIELDS:
            return decision.refuse(
                403, "permission_error", f"Only an operator can set '{name[:100]}' of a key.", param=name[:100]
            )
    return None


def _wrong_type(caller: AdminCaller, key_type: Any, team: str) -> Result | None:
    if key_type == MANAGEMENT and (caller.key_id or team not in caller.admin_of):
        return forbidden("Only an operator or the team's admin can make a management key.")
    return None


def _bounds(user_id: str, team: str, policy: Policy | None) -> Steps:
    """Returns the limits of the team and the user, as far as there are any."""
    accounts = [account for account, name in ((team_account(team), team), (user_account(user_id), user_id)) if name]
    if not accounts:
        return []
    columns = ", ".join(f"COALESCE(o.{name}, b.{name})" for name in _LIMITS)
    rows = yield (
        f"SELECT o.account, o.models, o.blocked, o.model_aliases, {columns} FROM ledger_owners o "
        f"LEFT JOIN ledger_budgets b ON b.id = o.budget_id WHERE o.account IN ({marks(len(accounts))})",
        tuple(accounts),
    )
    found = {row[0]: row for row in rows}
    return [_bound(account, found.get(account), policy) for account in accounts]


def _bound(account: str, row: Row | None, policy: Policy | None) -> _Bound:
    kind, _, name = account.partition(":")
    limits: dict[str, int | None] = dict(zip(_LIMITS, row[4:] if row else (None,) * len(_LIMITS), strict=True))
    if kind == "user" and policy is not None:
        usual = policy.user(name)
        for limit, value in zip(_LIMITS, (usual.max_budget, usual.rpm, usual.tpm, usual.parallel), strict=True):
            limits[limit] = value if limits[limit] is None else limits[limit]
    what = f"the team '{name}'" if kind == "team" else "the key's user"
    models = keys.with_aliases(row[1], row[3]) if row else "[]"
    return _Bound(what, models, limits, bool(row and row[2]), row is not None)


def _has_budget(policy: Policy, user_id: str) -> Steps:
    bounds = yield from _bounds(user_id, "", policy)
    return any(bound.limits["max_budget"] is not None for bound in bounds)


def _outside(bounds: list[_Bound], fields: Mapping[str, Any], now: int, *, whole: bool = False) -> Result | None:
    """Returns the refusal of a key that may do more than its team or its user. Raises FieldError for invalid values.

    A limit that is left open is not refused: the key draws on the accounts of its team and its user anyway. `whole`: a
    new key.
    """
    values = keys.KEYS.read(fields, ("grace_period",), now)
    for bound in bounds:
        if whole and bound.blocked:
            return forbidden(f"Blocked: {bound.what}.")
        for name in _LIMITS:
            value, most = values.get(name), bound.limits[name]
            if value is not None and most is not None and value > most:
                return decision.invalid(f"'{name}' exceeds the limit of {bound.what}.", name)
        for model in json.loads(values.get("models", "[]")):
            # A pattern is within another if that matches it as text.
            wanted = "*" if model == "all-proxy-models" else model
            if not keys.allows(bound.models, wanted):
                return decision.invalid(f"The model '{model[:200]}' is not among those of {bound.what}.", "models")
    return None


def _with_models(bounds: list[_Bound], fields: dict[str, Any]) -> dict[str, Any]:
    """A key that names no models gets its user's, as far as its team has them: an admission checks those of the team
    only."""
    own = next((bound.models for bound in bounds if bound.what == "the key's user"), "[]")
    if fields.get("models") or own == "[]":
        return fields
    for bound in bounds:
        own = keys.both_allow(own, bound.models)
    return {**fields, "models": json.loads(own)}


def _without_others(caller: AdminCaller, body: Any) -> Any:
    """Returns the body of a response without what teams say about others, for a plain member of them."""
    if isinstance(body, list):
        return [_without_others(caller, one) for one in body]
    if not isinstance(body, dict):
        return body
    if "team_info" in body and body.get("team_id") not in caller.admin_of:
        return {"team_id": body["team_id"], "team_info": _without_others(caller, body["team_info"])}
    if "team_id" in body and "team_alias" in body and "key_name" not in body and body["team_id"] not in caller.admin_of:
        return {name: value for name, value in body.items() if name in _OF_A_TEAM}
    if "updated_users" in body:  # whoever the caller added to a team
        some = [{name: one[name] for name in _OF_A_USER} for one in body["updated_users"]]
        return {**body, "updated_users": some}
    return {name: _without_others(caller, value) for name, value in body.items()}
