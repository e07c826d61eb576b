"""The endpoints of teams, users, end users and tags, compatible with LiteLLM's. Changes apply from the next request.

Each decision takes the request's JSON body, not validated yet, and returns {"ok": True, "body": …} or a refusal. `kind`
is one of `owner_fields.OF_KIND`. What an owner spent stays in its account when it is deleted, so that one with the same
id goes on from there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values import periods
from ..values.field_kinds import FieldError, is_printable
from . import decision, key_admin, keys, secrets
from .accounts import COLUMNS as ACCOUNT_COLUMNS
from .accounts import Account, Limits, counters, open_account
from .decision import Decision, Row, Steps
from .dialect import Dialect, containing, marks
from .field_table import check_budgets, only
from .owner_fields import (
    BUDGETS,
    END_USER,
    MAX_MEMBERS,
    MEMBER_ROLES,
    OF_KIND,
    OWNERS,
    TEAM,
    USER,
    Budget,
    Owner,
    OwnerKind,
)

MAX_PAGE = 500
# The most that a list without pages returns, which is how LiteLLM's own lists are.
MAX_UNPAGED = 1000
MOST_NAMED = 50
KEYS_SHOWN = 100
_TEAM, _USER = OF_KIND[TEAM], OF_KIND[USER]
_WIDTH = len(OWNERS.columns)
_BUDGET_WIDTH = len(BUDGETS.columns)
_OWNER = ", ".join(f"o.{name}" for name in OWNERS.columns)
_BY_ACCOUNT = f"SELECT {_OWNER} FROM ledger_owners o WHERE o.account = ?"
_SHOWN = f"""SELECT {_OWNER}, {", ".join(f"b.{name}" for name in BUDGETS.columns)}, {ACCOUNT_COLUMNS}
FROM ledger_owners o LEFT JOIN ledger_budgets b ON b.id = o.budget_id LEFT JOIN ledger_accounts a ON a.id = o.account"""
# What may be sorted by, besides the kind's own names for these columns.
_SORTED_BY = {"created_at": "o.created", "updated_at": "o.updated", "max_budget": "o.max_budget", "spend": "a.spent"}


class Filters(NamedTuple):
    """The filters of a list; None for any. `search`: a part of the id, of the alias or of the e-mail address.
    `ids`: exact. `alias`, `email`: a part of it. `role`: of users. `member`: the user whose teams are listed. `team`:
    the team whose members are listed, newest first whatever `sort` says. `sort`: a name in `_SORTED_BY`, or the kind's
    own for its id, alias and e-mail address."""

    search: str | None = None
    ids: tuple[str, ...] | None = None
    alias: str | None = None
    email: str | None = None
    role: str | None = None
    member: str | None = None
    team: str | None = None
    sort: str | None = None
    descending: bool = False


_ANY = Filters()


def new(dialect: Dialect, kind: OwnerKind, body: Any, now: int) -> Decision:
    """`POST /team/new` and its like. A team or a user without an id gets one. A user gets a key, unless
    `auto_create_key` is false."""
    return decision.change(dialect, body, (_new_user if kind is _USER else _new)(kind, body, now))


def update(dialect: Dialect, kind: OwnerKind, body: Any, now: int) -> Decision:
    """`POST /team/update` and its like: the id and the fields to change; null unsets a field. A user that does not
    exist is created, as in LiteLLM."""
    return decision.change(dialect, body, _update(kind, body, now))


def block(dialect: Dialect, kind: OwnerKind, body: Any, blocked: bool, now: int) -> Decision:
    """`POST /team/block`, `/customer/block` and their opposites. An end user that does not exist is created."""
    steps = _block_end_users(kind, body, blocked, now) if kind.name == END_USER else _block(kind, body, blocked, now)
    return decision.change(dialect, body, steps)


def delete(dialect: Dialect, kind: OwnerKind, body: Any, now: int) -> Decision:
    """`POST /team/delete` and its like. The keys of a team and of a user are deleted, too."""
    return decision.change(dialect, body, _delete(dialect, kind, body, now))


def info(kind: OwnerKind, id: Any, now: int, keys_shown: int = KEYS_SHOWN) -> Decision:
    """`GET /team/info`, `/user/info` and `/customer/info`. `keys_shown`: the most keys in the response."""
    return Decision(_info(kind, id, keys_shown, now))


def tags_info(body: Any, now: int) -> Decision:
    """`POST /tag/info`: the tags in `names`, by name."""
    return Decision(_tags_info(body, now))


def list_owners(kind: OwnerKind, page: int | None, size: int, now: int, filters: Filters = _ANY) -> Decision:
    """`GET /team/list` and its like, newest first. `page` counts from 1; without it, the response is one array. Raises
    FieldError."""
    order = _order(kind, filters)
    return Decision(_list(kind, page, min(max(1, size), MAX_PAGE), filters, order, now))


def member_add(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /team/member_add`: one or more members. As in LiteLLM, users that do not exist are created."""
    return decision.change(dialect, body, _member_add(body, now))


def member_delete(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /team/member_delete`. As in LiteLLM, the member's keys with this team are deleted, too."""
    return decision.change(dialect, body, _member_delete(dialect, body, now))


def member_update(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /team/member_update`: another role."""
    return decision.change(dialect, body, _member_update(body, now))


# Making, changing and deleting.


def _new(kind: OwnerKind, body: Mapping[str, Any], now: int) -> Steps:
    own = (kind.id, "members_with_roles") if kind is _TEAM else (kind.id,)
    wanted = kind.table.read(body, own, now)
    id = _chosen_id(kind, body.get(kind.id))
    refused = (yield from _exists(kind, id)) or (yield from _not_fitting(kind, wanted, id))
    if refused:
        return refused
    if kind is _TEAM:
        members, unknown = yield from _members(_list_of(body, "members_with_roles"))
        wanted["members"] = _written(members)
        yield from _make_users(unknown, now)
    yield from insert(kind, id, wanted, now)
    return (yield from _answer(kind, id, now, "created"))


def _new_user(kind: OwnerKind, body: Mapping[str, Any], now: int) -> Steps:
    wanted = kind.table.read(body, ("user_id", "teams", "team_id", "key_alias", "duration", "auto_create_key"), now)
    id = _chosen_id(kind, body.get("user_id"))
    with_key = body.get("auto_create_key")
    if not isinstance(with_key, bool | None):
        raise FieldError("auto_create_key", "'auto_create_key' has to be true or false.")
    refused = (yield from _exists(kind, id)) or (yield from _not_fitting(kind, wanted, id))
    if refused:
        return refused
    joined = _teams_to_join(body)
    changed: list[tuple[Owner, list[dict[str, str]]]] = []
    for team_id, role in joined.items():
        team, refused = yield from _changeable(_TEAM, team_id, "teams")
        if refused:
            return refused
        members = [one for one in json.loads(team.members) if one["user_id"] != id]
        changed.append((team, _not_too_many([*members, {"user_id": id, "role": role}])))
    key: dict[str, Any] = {"key": ""}
    if with_key is not False:
        fields = {"user_id": id, **{name: body.get(name) for name in ("key_alias", "duration", "team_id")}}
        made = yield from key_admin.generated(fields, now)
        if not made["ok"]:
            return made
        key = made["body"]
    yield from insert(kind, id, wanted, now)
    for team, members in changed:
        yield from _change(team.account, {"members": _written(members)}, now)
    shown = yield from _one(kind, id, now)
    names = ("key", "token", "token_id", "key_name", "key_alias", "expires", "team_id")
    return {"ok": True, "body": {**{name: key[name] for name in names if name in key}, **shown, "teams": [*joined]}}


def _teams_to_join(body: Mapping[str, Any]) -> dict[str, str]:
    """Returns the role in each team that a new user joins: those in `teams`, and the one in `team_id`."""
    found: dict[str, str] = {}
    one = body.get("team_id")
    for team in [*_list_of(body, "teams"), *([one] if one else [])]:
        entry = team if isinstance(team, Mapping) else {"team_id": team}
        only_known(entry, ("team_id", "user_role"), "teams")
        if not isinstance(entry.get("team_id"), str):
            raise FieldError("teams", "'teams' has to be an array of team ids, or of objects with a team_id.")
        found.setdefault(entry["team_id"], _member_role(entry.get("user_role"), "teams"))
    return found


def _update(kind: OwnerKind, body: Mapping[str, Any], now: int) -> Steps:
    wanted = kind.table.read(body, (kind.id,), now)
    if kind is _USER and body.get("user_id") is None and wanted.get("email"):
        found, refused = yield from _by_email(wanted["email"])
    else:
        found, refused = yield from _find(kind, body.get(kind.id), kind.id)
        if refused and kind is _USER:
            return (yield from _new_user(kind, {**body, "auto_create_key": False}, now))
    if refused:
        return refused
    if found is None:
        return decision.not_found("There is no user with this e-mail address.", "user_email")
    if found.declared == keys.DECLARED:
        return _in_the_file(kind)
    check_budgets(wanted, found._asdict())
    refused = yield from _not_fitting(kind, wanted, found.id)
    if refused:
        return refused
    yield from _change(found.account, wanted, now)
    return (yield from _answer(kind, found.id, now, "updated"))


def _block(kind: OwnerKind, body: Mapping[str, Any], blocked: bool, now: int) -> Steps:
    only(body, (kind.id,))
    found, refused = yield from _find(kind, body.get(kind.id), kind.id)
    if refused:
        return refused
    yield from _change(found.account, {"blocked": int(blocked)}, now)
    return {"ok": True, "body": (yield from _one(kind, found.id, now))}


def _block_end_users(kind: OwnerKind, body: Mapping[str, Any], blocked: bool, now: int) -> Steps:
    only(body, ("user_ids",))
    shown = []
    for id in _ids(kind, body, "user_ids"):
        found, refused = yield from _find(kind, id, "user_ids")
        if found is not None:
            yield from _change(found.account, {"blocked": int(blocked)}, now)
        elif blocked:
            yield from insert(kind, id, {"blocked": 1}, now)
        else:
            return refused
        shown.append((yield from _one(kind, id, now)))
    # As in LiteLLM, unblocking tells who of them is still blocked: nobody.
    return {"ok": True, "body": {"blocked_users": shown if blocked else []}}


def _delete(dialect: Dialect, kind: OwnerKind, body: Mapping[str, Any], now: int) -> Steps:
    field = {TEAM: "team_ids", USER: "user_ids", END_USER: "user_ids"}.get(kind.name, kind.id)
    only(body, (field,))
    ids: list[Any] = [body.get(field)] if field == kind.id else _ids(kind, body, field)
    for id in ids:
        _, refused = yield from _changeable(kind, id, field)
        if refused:
            return refused
    keys_deleted = 0
    for id in ids:
        if kind.name in (TEAM, USER):
            column = f"k.{kind.id}"
            count, refused = yield from key_admin.delete_all(dialect, f"{column} = ? AND {column} <> ''", (id,))
            if refused:
                return refused
            keys_deleted += count
        if kind is _USER:
            yield from _leave_all_teams(id, now)
        yield "DELETE FROM ledger_owners WHERE account = ?", (kind.account(id),)
    if kind.name == END_USER:
        message = f"Successfully deleted customers with ids: {ids}"
        return {"ok": True, "body": {"deleted_customers": len(ids), "message": message}}
    if kind.name in (TEAM, USER):
        return {"ok": True, "body": {f"deleted_{kind.words}": ids, "deleted_keys": keys_deleted}}
    return {"ok": True, "body": {"message": f"Tag {ids[0]} deleted successfully"}}


def insert(kind: OwnerKind, id: str, wanted: Mapping[str, Any], now: int, *, declared: int = 0) -> Steps:
    """Inserts a row and opens its account, as a part of another decision. `wanted`: its columns."""
    values = {**OWNERS.defaults, **wanted}
    row = {
        "account": kind.account(id), "members": "[]", **values, "created": now, "updated": now, "declared": declared,
    }  # fmt: skip
    yield f"INSERT INTO ledger_owners ({', '.join(row)}) VALUES ({marks(len(row))})", tuple(row.values())
    yield open_account(kind.account(id), periods.start(values["budget_duration"], now))


def _change(account: str, values: Mapping[str, Any], now: int) -> Steps:
    values = {**values, "updated": now}
    sql = f"UPDATE ledger_owners SET {', '.join(f'{name} = ?' for name in values)} WHERE account = ?"
    yield sql, (*values.values(), account)


def _chosen_id(kind: OwnerKind, id: Any) -> str:
    """Returns the id of a new owner. Raises FieldError."""
    if kind.name in (TEAM, USER) and (id is None or (isinstance(id, str) and not id.strip())):
        return secrets.new_id()
    return _valid_id(kind, id, kind.id)


def _valid_id(kind: OwnerKind, id: Any, param: str) -> str:
    if not is_printable(id, kind.longest):
        raise FieldError(param, f"'{param}' has to be a string of 1 to {kind.longest} printable characters.")
    return id


def _ids(kind: OwnerKind, body: Mapping[str, Any], field: str) -> list[str]:
    ids = body.get(field)
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_NAMED:
        raise FieldError(field, f"'{field}' has to be an array of 1 to {MOST_NAMED} ids.")
    return list(dict.fromkeys(_valid_id(kind, id, field) for id in ids))


def _find(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Returns (owner, None) or (None, refusal). Raises FieldError for what is no id."""
    if id is None:
        raise FieldError(param, f"'{param}' is missing.")
    rows = yield _BY_ACCOUNT, (kind.account(_valid_id(kind, id, param)),)
    if not rows:
        return None, decision.not_found(f"There is no {kind.word} '{id}'.", param)
    return Owner._make(rows[0]), None


def _changeable(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Like `_find`, but refuses owners in the config file: the next start would undo the change."""
    found, refused = yield from _find(kind, id, param)
    if found is not None and found.declared == keys.DECLARED:
        return None, _in_the_file(kind)
    return found, refused


def _in_the_file(kind: OwnerKind) -> dict[str, Any]:
    return decision.invalid(
        f"This {kind.word} stands in the config file (general_settings.{kind.words}): change it there.", kind.id
    )


def _exists(kind: OwnerKind, id: str) -> Steps:
    rows = yield "SELECT 1 FROM ledger_owners WHERE account = ?", (kind.account(id),)
    if not rows:
        return None
    status = 409 if kind is _USER else 400
    return decision.refuse(
        status, "invalid_request_error", f"The {kind.word} '{id}' exists already.", param=kind.id, code="exists"
    )


def _not_fitting(kind: OwnerKind, wanted: Mapping[str, Any], id: str) -> Steps:
    """Returns a refusal if the budget does not exist, or if another user has the e-mail address."""
    if wanted.get("budget_id"):
        rows = yield "SELECT 1 FROM ledger_budgets WHERE id = ?", (wanted["budget_id"],)
        if not rows:
            return decision.not_found(f"There is no budget '{wanted['budget_id']}'.", "budget_id")
    if wanted.get("email"):
        rows = yield "SELECT account FROM ledger_owners WHERE LOWER(email) = LOWER(?)", (wanted["email"],)
        if any(row[0] != kind.account(id) for row in rows):
            return decision.refuse(
                409, "invalid_request_error", "Another user has this e-mail address.", param="user_email", code="exists"
            )
    return None


# Members of teams.


def _member_add(body: Mapping[str, Any], now: int) -> Steps:
    only(body, ("team_id", "member"))
    team, refused = yield from _changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    given = body.get("member")
    sent = given if isinstance(given, list) else [given]
    if not sent or given is None:
        raise FieldError("member", "'member' is missing.")
    members: list[dict[str, str]] = json.loads(team.members)
    known = {one["user_id"] for one in members}
    named, unknown = yield from _members(sent, "member")
    added = [one for one in named if one["user_id"] not in known]
    if not added:
        what = "All users are already in the team." if isinstance(given, list) else "The user is already in the team."
        return decision.invalid(what, "member", code="team_member_already_in_team")
    joined = _written([*members, *added])
    yield from _make_users(unknown, now)
    yield from _change(team.account, {"members": joined}, now)
    shown = yield from _one(_TEAM, team.id, now)
    users = yield from _some(_USER, [one["user_id"] for one in added], now)
    return {"ok": True, "body": {**shown, "updated_users": users, "updated_team_memberships": []}}


def _member_delete(dialect: Dialect, body: Mapping[str, Any], now: int) -> Steps:
    only(body, ("team_id", "user_id", "user_email"))
    team, refused = yield from _changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    user_id, refused = yield from _named_member(team, body)
    if refused:
        return refused
    count, refused = yield from key_admin.delete_all(dialect, "k.team_id = ? AND k.user_id = ?", (team.id, user_id))
    if refused:
        return refused
    members = [one for one in json.loads(team.members) if one["user_id"] != user_id]
    yield from _change(team.account, {"members": _written(members)}, now)
    return {"ok": True, "body": {**(yield from _one(_TEAM, team.id, now)), "deleted_keys": count}}


def _member_update(body: Mapping[str, Any], now: int) -> Steps:
    only(body, ("team_id", "user_id", "user_email", "role"))
    if body.get("role") is None:
        raise FieldError("role", "'role' is missing.")
    role = _member_role(body["role"], "role")
    team, refused = yield from _changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    user_id, refused = yield from _named_member(team, body)
    if refused:
        return refused
    members = [
        {"user_id": user_id, "role": role} if one["user_id"] == user_id else one for one in json.loads(team.members)
    ]
    yield from _change(team.account, {"members": _written(members)}, now)
    emails = yield from _emails([user_id])
    return {
        "ok": True,
        "body": {"team_id": team.id, "user_id": user_id, "user_email": emails.get(user_id), "role": role},
    }


def _named_member(team: Owner, body: Mapping[str, Any]) -> Steps:
    """Returns (the id of a member that is named by id or by e-mail address, None) or (None, refusal)."""
    user_id, email = body.get("user_id"), body.get("user_email")
    if user_id is None and email is None:
        raise FieldError("user_id", "'user_id' or 'user_email' is missing.")
    if user_id is None:
        found, refused = yield from _by_email(email)
        if refused:
            return None, refused
        user_id = found.id if found else None
    if not any(one["user_id"] == user_id for one in json.loads(team.members)):
        return None, decision.invalid("The user is not in the team.", "user_id" if email is None else "user_email")
    return user_id, None


def _members(sent: list[Any], param: str = "members_with_roles") -> Steps:
    """Returns members as they are stored, and the ids and e-mail addresses of users that may not exist yet. Raises
    FieldError."""
    _not_too_many(sent, param)
    found: dict[str, dict[str, str]] = {}
    new: list[tuple[str, str | None]] = []
    for one in sent:
        if not isinstance(one, Mapping):
            raise FieldError(param, f"'{param}' has to have objects with a role and a user_id or a user_email.")
        only_known(one, ("user_id", "user_email", "role"), param)
        role = _member_role(one.get("role"), param)
        user_id, email = one.get("user_id"), one.get("user_email")
        if user_id is None and email is None:
            raise FieldError(param, f"'{param}': a user_id or a user_email is missing.")
        user: Owner | None = None
        if email is not None:
            user, refused = yield from _by_email(email, param)
            if refused:
                raise FieldError(param, refused["message"])
        if user_id is not None:
            _valid_id(_USER, user_id, param)
            if user is not None and user.id != user_id:
                raise FieldError(param, f"'{param}': a user_email and a user_id are not of the same user.")
        else:
            user_id = user.id if user else secrets.new_id()
        if user is None and not any(id == user_id for id, _ in new):
            new.append((user_id, email))
        found[user_id] = {"user_id": user_id, "role": role}
    return list(found.values()), new


def _make_users(new: Iterable[tuple[str, str | None]], now: int) -> Steps:
    for user_id, email in new:
        rows = yield "SELECT 1 FROM ledger_owners WHERE account = ?", (_USER.account(user_id),)
        if not rows:
            yield from insert(_USER, user_id, {"email": email}, now)


def _by_email(email: Any, param: str = "user_email") -> Steps:
    """Returns (owner or None, None), or (None, refusal)."""
    if not is_printable(email, _USER.longest):
        raise FieldError(param, f"'{param}': an e-mail address has to be a string of printable characters.")
    rows = yield f"SELECT {_OWNER} FROM ledger_owners o WHERE LOWER(o.email) = LOWER(?) LIMIT 2", (email,)
    if len(rows) > 1:
        return None, decision.invalid("Several users have this e-mail address: use 'user_id'.", param)
    return (Owner._make(rows[0]) if rows else None), None


def _leave_all_teams(user_id: str, now: int) -> Steps:
    for team in (yield from teams_of(user_id)):
        members = [one for one in json.loads(team.members) if one["user_id"] != user_id]
        yield from _change(team.account, {"members": _written(members)}, now)


def teams_of(user_id: str) -> Steps:
    """Returns the Owners of the teams that a user is in, as a part of another decision."""
    condition, parameters = _has_member(user_id)
    rows = yield f"SELECT {_OWNER} FROM ledger_owners o WHERE {condition} ORDER BY o.account", parameters
    return [Owner._make(row) for row in rows]


def _has_member(user_id: str) -> tuple[str, tuple[str, ...]]:
    # Not LIKE, whose patterns a Durable Object limits to 50 bytes. A quotation mark within an id is escaped.
    return (
        "o.account LIKE 'team:%' AND REPLACE(o.members, ?, '') <> o.members",
        (f'{{"user_id": {json.dumps(user_id)}, ',),
    )


def _written(members: list[dict[str, str]]) -> str:
    return json.dumps(_not_too_many(members))


def _not_too_many(members: list[Any], param: str = "member") -> list[Any]:
    if len(members) > MAX_MEMBERS:
        raise FieldError(param, f"A team has at most {MAX_MEMBERS} members.")
    return members


def _member_role(role: Any, param: str) -> str:
    if role is None:
        return "user"
    if role not in MEMBER_ROLES:
        raise FieldError(param, f"'{param}': a member's role has to be one of {', '.join(MEMBER_ROLES)}.")
    return role


def only_known(entry: Mapping[str, Any], known: tuple[str, ...], param: str) -> None:
    """Raises FieldError if an entry of a list has other fields that say something."""
    try:
        only(entry, known)
    except FieldError as error:
        raise FieldError(param, f"'{param}': {error.message}") from None


def _list_of(body: Mapping[str, Any], field: str) -> list[Any]:
    value = body.get(field)
    if not isinstance(value, list | None):
        raise FieldError(field, f"'{field}' has to be an array.")
    return value or []


# Showing.


def _answer(kind: OwnerKind, id: str, now: int, done: str) -> Steps:
    """The response to a change: what LiteLLM returns."""
    shown = yield from _one(kind, id, now)
    if kind.name in (TEAM, USER) and done == "updated":
        return {"ok": True, "body": {kind.id: id, "data": shown}}
    if kind.name in (TEAM, USER, END_USER):
        return {"ok": True, "body": shown}
    return {"ok": True, "body": {"message": f"Tag {id} {done} successfully", "tag": shown}}


def _info(kind: OwnerKind, id: Any, keys_shown: int, now: int) -> Steps:
    param = "end_user_id" if kind.name == END_USER else kind.id
    try:
        _, refused = yield from _find(kind, id, param)
    except FieldError as error:
        return decision.invalid(error.message, error.param)
    if refused:
        return refused
    shown = yield from _one(kind, id, now)
    if kind.name == END_USER:
        return {"ok": True, "body": shown}
    its_keys = yield from key_admin.shown_of(kind.id, id, keys_shown, now)
    if kind is _TEAM:
        return {"ok": True, "body": {"team_id": id, "team_info": shown, "keys": its_keys, "team_memberships": []}}
    teams = yield from _some(_TEAM, [team.id for team in (yield from teams_of(id))], now)
    return {"ok": True, "body": {"user_id": id, "user_info": shown, "keys": its_keys, "teams": teams}}


def _tags_info(body: Any, now: int) -> Steps:
    kind = OF_KIND["tag"]
    found: dict[str, Any] = {}
    try:
        only(body, ("names",))
        for name in _ids(kind, body, "names"):
            _, refused = yield from _find(kind, name, "names")
            if refused:
                return refused
            found[name] = yield from _one(kind, name, now)
    except FieldError as error:
        return decision.invalid(error.message, error.param)
    return {"ok": True, "body": found}


def _one(kind: OwnerKind, id: str, now: int) -> Steps:
    rows = yield f"{_SHOWN} WHERE o.account = ?", (kind.account(id),)
    return (yield from _all(kind, rows, now))[0]


def _some(kind: OwnerKind, ids: Sequence[str], now: int, condition: str = "1 = 1", *parameters: Any) -> Steps:
    """Returns those with these ids that fulfil a condition on `o`, as the responses show them."""
    rows: list[Row] = []
    for first in range(0, len(ids), MOST_NAMED):
        some = [kind.account(id) for id in ids[first : first + MOST_NAMED]]
        rows += yield f"{_SHOWN} WHERE o.account IN ({marks(len(some))}) AND {condition}", (*some, *parameters)
    return (yield from _all(kind, rows, now))


def _list(kind: OwnerKind, page: int | None, size: int, filters: Filters, order: str, now: int) -> Steps:
    where, parameters = _conditions(kind, filters)
    if filters.team is not None:
        return (yield from _list_members(filters, where, parameters, page or 1, size, now))
    counted = yield f"SELECT COUNT(*) FROM ledger_owners o WHERE {where}", tuple(parameters)
    total = counted[0][0]
    if page is None and total > MAX_UNPAGED:
        return decision.invalid(f"There are more than {MAX_UNPAGED} {kind.words}: ask for one 'page' of them.", "page")
    rows = yield (
        f"{_SHOWN} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        (*parameters, MAX_UNPAGED if page is None else size, 0 if page is None else (page - 1) * size),
    )
    shown = yield from _all(kind, rows, now)
    return {"ok": True, "body": shown if page is None else paged(kind.words, shown, total, page, size)}


def _list_members(filters: Filters, where: str, parameters: list[Any], page: int, size: int, now: int) -> Steps:
    """The users in a team. A team has few enough of them to sort them here."""
    rows = yield "SELECT members FROM ledger_owners WHERE account = ?", (_TEAM.account(filters.team or ""),)
    ids = [one["user_id"] for one in json.loads(rows[0][0])] if rows else []
    found = yield from _some(_USER, ids, now, where, *parameters)
    found.sort(key=lambda one: one["user_id"])
    found.sort(key=lambda one: one["created_at"], reverse=True)
    shown = found[(page - 1) * size : page * size]
    return {"ok": True, "body": paged(_USER.words, shown, len(found), page, size)}


def paged(words: str, shown: list[Any], total: int, page: int, size: int) -> dict[str, Any]:
    """One page of a list, as LiteLLM returns it."""
    return {words: shown, "total": total, "page": page, "page_size": size, "total_pages": -(-total // size)}


def _conditions(kind: OwnerKind, filters: Filters) -> tuple[str, list[Any]]:
    """Returns an SQL condition on `o`, and its parameters."""
    parts, values = ["o.account LIKE ?"], [f"{kind.name}:%"]
    id = f"SUBSTR(o.account, {len(kind.name) + 2})"
    for columns, text in (
        ((id, "o.alias", "o.email"), filters.search),
        (("o.alias",), filters.alias),
        (("o.email",), filters.email),
    ):
        if text is not None:
            condition, found = containing(columns, text)
            parts.append(condition)
            values += found
    if filters.ids is not None:
        parts.append(f"o.account IN ({marks(len(filters.ids))})")
        values += [kind.account(id) for id in filters.ids]
    if filters.role is not None:
        parts.append("o.role = ?")
        values.append(filters.role)
    if filters.member is not None:
        condition, found = _has_member(filters.member)
        parts.append(condition)
        values += found
    return " AND ".join(parts), values


def _order(kind: OwnerKind, filters: Filters) -> str:
    if filters.sort is None:
        return "o.created DESC, o.account"
    columns = {**_SORTED_BY, kind.id: "o.account"}
    columns |= {name: f"o.{column}" for name, (column, _) in kind.table.fields.items() if column in ("alias", "email")}
    if filters.sort not in columns:
        raise FieldError("sort_by", f"'sort_by' has to be one of {', '.join(columns)}.")
    column, way = columns[filters.sort], "DESC" if filters.descending else "ASC"
    # Rows without a value come last on SQLite and on PostgreSQL.
    return f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END, {column} {way}, o.account"


def _all(kind: OwnerKind, rows: list[Row], now: int) -> Steps:
    """Returns rows of `_SHOWN` as the responses show them."""
    owners = [Owner._make(row[:_WIDTH]) for row in rows]
    shown = []
    for owner, row in zip(owners, rows, strict=True):
        budget, account = row[_WIDTH : _WIDTH + _BUDGET_WIDTH], row[_WIDTH + _BUDGET_WIDTH :]
        supplied = Budget._make(budget) if budget[0] is not None else None
        limits = owner.limits.filled(supplied.limits) if supplied else owner.limits
        counted = Account(account) if account[0] is not None else None
        shown.append(_shown(kind, owner, supplied, limits, counted, now))
    if kind.name in (TEAM, USER):
        yield from _count_keys(kind, shown)
    if kind is _TEAM:
        yield from _add_members(owners, shown)
    if kind is _USER:
        yield from _add_teams(shown)
    return shown


def _shown(
    kind: OwnerKind, owner: Owner, budget: Budget | None, limits: Limits, account: Account | None, now: int
) -> dict[str, Any]:
    return {
        kind.id: owner.id,
        **{name: show(owner[index]) for name, index, show in kind.table.shown},
        **counters(account, limits.duration, now),
        "litellm_budget_table": budget and {name: show(budget[index]) for name, index, show in BUDGETS.shown},
    }


def _count_keys(kind: OwnerKind, shown: list[dict[str, Any]]) -> Steps:
    name = "keys_count" if kind is _TEAM else "key_count"
    column = f"k.{kind.id}"
    counts: dict[str, int] = {}
    for first in range(0, len(shown), MOST_NAMED):
        some = tuple(one[kind.id] for one in shown[first : first + MOST_NAMED])
        rows = yield (
            f"SELECT {column}, COUNT(*) FROM ledger_keys k WHERE {column} IN ({marks(len(some))}) AND {column} <> '' "
            f"GROUP BY {column}",
            some,
        )
        counts |= {row[0]: row[1] for row in rows}
    for one in shown:
        one[name] = counts.get(one[kind.id], 0)


def _add_members(owners: list[Owner], shown: list[dict[str, Any]]) -> Steps:
    found = [json.loads(owner.members) for owner in owners]
    emails = yield from _emails(one["user_id"] for members in found for one in members)
    for members, one in zip(found, shown, strict=True):
        one["members_with_roles"] = [{**member, "user_email": emails.get(member["user_id"])} for member in members]
        one["members_count"] = len(members)


def _add_teams(shown: list[dict[str, Any]]) -> Steps:
    if len(shown) == 1:
        shown[0]["teams"] = [team.id for team in (yield from teams_of(shown[0]["user_id"]))]
        return
    rows = yield "SELECT account, members FROM ledger_owners WHERE account LIKE 'team:%' AND members <> '[]'", ()
    teams: dict[str, list[str]] = {}
    for account, members in sorted(rows, key=lambda row: row[0]):
        for member in json.loads(members):
            teams.setdefault(member["user_id"], []).append(account.partition(":")[2])
    for one in shown:
        one["teams"] = teams.get(one["user_id"], [])


def _emails(user_ids: Iterable[str]) -> Steps:
    """Returns the e-mail addresses of those users that have one, by id."""
    wanted = list(dict.fromkeys(user_ids))
    found: dict[str, str] = {}
    for first in range(0, len(wanted), MOST_NAMED):
        some = tuple(_USER.account(id) for id in wanted[first : first + MOST_NAMED])
        rows = yield (
            f"SELECT account, email FROM ledger_owners WHERE account IN ({marks(len(some))}) AND email IS NOT NULL",
            some,
        )
        found |= {row[0].removeprefix("user:"): row[1] for row in rows}
    return found
