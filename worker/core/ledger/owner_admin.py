"""The endpoints that make, change and delete teams and their members, users, end users and tags, compatible with
LiteLLM's. Changes apply from the next request.

Each decision takes the request's JSON body, not validated yet, and returns {"ok": True, "body": …} or a refusal. `kind`
is one of `owners.OF_KIND`, `policy` has the limits of the configuration. What an owner spent stays in its account when
it is deleted, so that one with the same id goes on from there. A team's members are stored in its row as [{"user_id",
"role"}, …].
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..values.fields import FieldError, check_budgets, only
from . import decision, key_admin, keys, owner_views, owners
from .accounts import NO_POLICY, Policy
from .decision import Decision, Dialect, Steps
from .owners import END_USER, MAX_MEMBERS, MEMBER_ROLES, OF_KIND, TEAM, USER, Owner, OwnerKind

_TEAM, _USER = OF_KIND[TEAM], OF_KIND[USER]


def new(dialect: Dialect, kind: OwnerKind, body: Any, now: int, policy: Policy = NO_POLICY) -> Decision:
    """`POST /team/new` and its like. A team or a user without an id gets one. A user gets a key, unless
    `auto_create_key` is false."""
    return decision.change(dialect, body, (_new_user if kind is _USER else _new)(kind, body, now, policy))


def update(dialect: Dialect, kind: OwnerKind, body: Any, now: int, policy: Policy = NO_POLICY) -> Decision:
    """`POST /team/update` and its like: the id and the fields to change; null unsets a field. A user that does not
    exist is created, as in LiteLLM."""
    return decision.change(dialect, body, _update(kind, body, now, policy))


def block(
    dialect: Dialect, kind: OwnerKind, body: Any, blocked: bool, now: int, policy: Policy = NO_POLICY
) -> Decision:
    """`POST /team/block`, `/customer/block` and their opposites. An end user that does not exist is created."""
    steps = (
        _block_end_users(kind, body, blocked, now, policy)
        if kind.name == END_USER
        else _block(kind, body, blocked, now, policy)
    )
    return decision.change(dialect, body, steps)


def delete(dialect: Dialect, kind: OwnerKind, body: Any, now: int) -> Decision:
    """`POST /team/delete` and its like. The keys of a team and of a user are deleted, too."""
    return decision.change(dialect, body, _delete(dialect, kind, body, now))


def _new(kind: OwnerKind, body: Mapping[str, Any], now: int, policy: Policy) -> Steps:
    own = (kind.id, "members_with_roles") if kind is _TEAM else (kind.id,)
    wanted = kind.table.read(body, own, now)
    id = _chosen_id(kind, body.get(kind.id))
    refused = (yield from _exists(kind, id)) or (yield from _not_fitting(kind, wanted, id))
    if refused:
        return refused
    if kind is _TEAM:
        members, unknown = yield from read_members(list_of(body, "members_with_roles"))
        wanted["members"] = written(members)
        yield from make_users(unknown, now)
    yield from owners.insert(kind, id, wanted, now)
    return (yield from _answer(kind, id, now, policy, "created"))


def _new_user(kind: OwnerKind, body: Mapping[str, Any], now: int, policy: Policy) -> Steps:
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
        team, refused = yield from owners.changeable(_TEAM, team_id, "teams")
        if refused:
            return refused
        members = [one for one in json.loads(team.members) if one["user_id"] != id]
        changed.append((team, not_too_many([*members, {"user_id": id, "role": role}])))
    key: dict[str, Any] = {"key": ""}
    if with_key is not False:
        fields = {"user_id": id, **{name: body.get(name) for name in ("key_alias", "duration", "team_id")}}
        made = yield from key_admin.generated(fields, now)
        if not made["ok"]:
            return made
        key = made["body"]
    yield from owners.insert(kind, id, wanted, now)
    for team, members in changed:
        yield from owners.change(team.account, {"members": written(members)}, now)
    shown = yield from owner_views.one(kind, id, now, policy)
    names = ("key", "key_name", "key_alias", "expires", "team_id")
    return {"ok": True, "body": {**{name: key[name] for name in names if name in key}, **shown, "teams": [*joined]}}


def _teams_to_join(body: Mapping[str, Any]) -> dict[str, str]:
    """Returns the role in each team that a new user joins: those in `teams`, and the one in `team_id`."""
    found: dict[str, str] = {}
    one = body.get("team_id")
    for team in [*list_of(body, "teams"), *([one] if one else [])]:
        entry = team if isinstance(team, Mapping) else {"team_id": team}
        only_known(entry, ("team_id", "user_role"), "teams")
        if not isinstance(entry.get("team_id"), str):
            raise FieldError("teams", "'teams' has to be an array of team ids, or of objects with a team_id.")
        found.setdefault(entry["team_id"], member_role(entry.get("user_role"), "teams"))
    return found


def _update(kind: OwnerKind, body: Mapping[str, Any], now: int, policy: Policy) -> Steps:
    wanted = kind.table.read(body, (kind.id,), now)
    if kind is _USER and body.get("user_id") is None and wanted.get("email"):
        found, refused = yield from owners.by_email(wanted["email"])
    else:
        found, refused = yield from owners.find(kind, body.get(kind.id), kind.id)
        if refused and kind is _USER:
            return (yield from _new_user(kind, {**body, "auto_create_key": False}, now, policy))
    if refused:
        return refused
    if found is None:
        return decision.not_found("There is no user with this e-mail address.", "user_email")
    if found.declared == keys.DECLARED:
        return owners.in_the_file(kind)
    check_budgets(wanted, found._asdict())
    refused = yield from _not_fitting(kind, wanted, found.id)
    if refused:
        return refused
    yield from owners.change(found.account, wanted, now)
    return (yield from _answer(kind, found.id, now, policy, "updated"))


def _block(kind: OwnerKind, body: Mapping[str, Any], blocked: bool, now: int, policy: Policy) -> Steps:
    only(body, (kind.id,))
    found, refused = yield from owners.find(kind, body.get(kind.id), kind.id)
    if refused:
        return refused
    yield from owners.change(found.account, {"blocked": int(blocked)}, now)
    return {"ok": True, "body": (yield from owner_views.one(kind, found.id, now, policy))}


def _block_end_users(kind: OwnerKind, body: Mapping[str, Any], blocked: bool, now: int, policy: Policy) -> Steps:
    only(body, ("user_ids",))
    shown = []
    for id in owner_views.ids_in(kind, body, "user_ids"):
        found, refused = yield from owners.find(kind, id, "user_ids")
        if found is not None:
            yield from owners.change(found.account, {"blocked": int(blocked)}, now)
        elif blocked:
            yield from owners.insert(kind, id, {"blocked": 1}, now)
        else:
            return refused
        shown.append((yield from owner_views.one(kind, id, now, policy)))
    # As in LiteLLM, unblocking tells who of them is still blocked: nobody.
    return {"ok": True, "body": {"blocked_users": shown if blocked else []}}


def _delete(dialect: Dialect, kind: OwnerKind, body: Mapping[str, Any], now: int) -> Steps:
    field = {TEAM: "team_ids", USER: "user_ids", END_USER: "user_ids"}.get(kind.name, kind.id)
    only(body, (field,))
    ids: list[Any] = [body.get(field)] if field == kind.id else owner_views.ids_in(kind, body, field)
    for id in ids:
        _, refused = yield from owners.changeable(kind, id, field)
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
            yield from leave_all_teams(id, now)
            yield from owners.end_sessions(id, now)  # not those of a later user with this id
        yield "DELETE FROM ledger_owners WHERE account = ?", (kind.account(id),)
    if kind.name == END_USER:
        message = f"Successfully deleted customers with ids: {ids}"
        return {"ok": True, "body": {"deleted_customers": len(ids), "message": message}}
    if kind.name in (TEAM, USER):
        return {"ok": True, "body": {f"deleted_{kind.words}": ids, "deleted_keys": keys_deleted}}
    return {"ok": True, "body": {"message": f"Tag {ids[0]} deleted successfully"}}


def _chosen_id(kind: OwnerKind, id: Any) -> str:
    """Returns the id of a new owner. Raises FieldError."""
    if kind.name in (TEAM, USER) and (id is None or (isinstance(id, str) and not id.strip())):
        return keys.new_id()
    return owners.valid_id(kind, id, kind.id)


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


def _answer(kind: OwnerKind, id: str, now: int, policy: Policy, done: str) -> Steps:
    """The response to a change: what LiteLLM returns."""
    shown = yield from owner_views.one(kind, id, now, policy)
    if kind.name in (TEAM, USER) and done == "updated":
        return {"ok": True, "body": {kind.id: id, "data": shown}}
    if kind.name in (TEAM, USER, END_USER):
        return {"ok": True, "body": shown}
    return {"ok": True, "body": {"message": f"Tag {id} {done} successfully", "tag": shown}}


def member_add(dialect: Dialect, body: Any, now: int, policy: Policy = NO_POLICY) -> Decision:
    """`POST /team/member_add`: one or more members. As in LiteLLM, users that do not exist are created."""
    return decision.change(dialect, body, _member_add(body, now, policy))


def member_delete(dialect: Dialect, body: Any, now: int, policy: Policy = NO_POLICY) -> Decision:
    """`POST /team/member_delete`. As in LiteLLM, the member's keys with this team are deleted, too."""
    return decision.change(dialect, body, _member_delete(dialect, body, now, policy))


def member_update(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /team/member_update`: another role."""
    return decision.change(dialect, body, _member_update(body, now))


def _member_add(body: Mapping[str, Any], now: int, policy: Policy) -> Steps:
    only(body, ("team_id", "member"))
    team, refused = yield from owners.changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    given = body.get("member")
    sent = given if isinstance(given, list) else [given]
    if not sent or given is None:
        raise FieldError("member", "'member' is missing.")
    members: list[dict[str, str]] = json.loads(team.members)
    known = {one["user_id"] for one in members}
    named, unknown = yield from read_members(sent, "member")
    added = [one for one in named if one["user_id"] not in known]
    if not added:
        what = "All users are already in the team." if isinstance(given, list) else "The user is already in the team."
        return decision.invalid(what, "member", code="team_member_already_in_team")
    joined = written([*members, *added])
    yield from make_users(unknown, now)
    yield from owners.change(team.account, {"members": joined}, now)
    shown = yield from owner_views.one(_TEAM, team.id, now, policy)
    users = yield from owner_views.some(_USER, [one["user_id"] for one in added], now, policy)
    return {"ok": True, "body": {**shown, "updated_users": users, "updated_team_memberships": []}}


def _member_delete(dialect: Dialect, body: Mapping[str, Any], now: int, policy: Policy) -> Steps:
    only(body, ("team_id", "user_id", "user_email"))
    team, refused = yield from owners.changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    user_id, refused = yield from _named_member(team, body)
    if refused:
        return refused
    count, refused = yield from key_admin.delete_all(dialect, "k.team_id = ? AND k.user_id = ?", (team.id, user_id))
    if refused:
        return refused
    members = [one for one in json.loads(team.members) if one["user_id"] != user_id]
    yield from owners.change(team.account, {"members": written(members)}, now)
    return {"ok": True, "body": {**(yield from owner_views.one(_TEAM, team.id, now, policy)), "deleted_keys": count}}


def _member_update(body: Mapping[str, Any], now: int) -> Steps:
    only(body, ("team_id", "user_id", "user_email", "role"))
    if body.get("role") is None:
        raise FieldError("role", "'role' is missing.")
    role = member_role(body["role"], "role")
    team, refused = yield from owners.changeable(_TEAM, body.get("team_id"), "team_id")
    if refused:
        return refused
    user_id, refused = yield from _named_member(team, body)
    if refused:
        return refused
    members = [
        {"user_id": user_id, "role": role} if one["user_id"] == user_id else one for one in json.loads(team.members)
    ]
    yield from owners.change(team.account, {"members": written(members)}, now)
    emails = yield from owner_views.emails_of([user_id])
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
        found, refused = yield from owners.by_email(email)
        if refused:
            return None, refused
        user_id = found.id if found else None
    if not any(one["user_id"] == user_id for one in json.loads(team.members)):
        return None, decision.not_found("The user is not in the team.", "user_id" if email is None else "user_email")
    return user_id, None


def read_members(sent: list[Any], param: str = "members_with_roles") -> Steps:
    """Returns members as they are stored, and the ids and e-mail addresses of users that may not exist yet. Raises
    FieldError."""
    not_too_many(sent, param)
    found: dict[str, dict[str, str]] = {}
    new: list[tuple[str, str | None]] = []
    for one in sent:
        if not isinstance(one, Mapping):
            raise FieldError(param, f"'{param}' has to have objects with a role and a user_id or a user_email.")
        only_known(one, ("user_id", "user_email", "role"), param)
        role = member_role(one.get("role"), param)
        user_id, email = one.get("user_id"), one.get("user_email")
        if user_id is None and email is None:
            raise FieldError(param, f"'{param}': a user_id or a user_email is missing.")
        user: Owner | None = None
        if email is not None:
            user, refused = yield from owners.by_email(email, param)
            if refused:
                raise FieldError(param, refused["message"])
        if user_id is not None:
            owners.valid_id(_USER, user_id, param)
            if user is not None and user.id != user_id:
                raise FieldError(param, f"'{param}': a user_email and a user_id are not of the same user.")
        else:
            user_id = user.id if user else keys.new_id()
        if user is None and not any(id == user_id for id, _ in new):
            new.append((user_id, email))
        found[user_id] = {"user_id": user_id, "role": role}
    return list(found.values()), new


def make_users(new: Iterable[tuple[str, str | None]], now: int) -> Steps:
    for user_id, email in new:
        rows = yield "SELECT 1 FROM ledger_owners WHERE account = ?", (_USER.account(user_id),)
        if not rows:
            yield from owners.insert(_USER, user_id, {"email": email}, now)


def leave_all_teams(user_id: str, now: int) -> Steps:
    for team in (yield from owners.teams_of(user_id)):
        members = [one for one in json.loads(team.members) if one["user_id"] != user_id]
        yield from owners.change(team.account, {"members": written(members)}, now)


def written(members: list[dict[str, str]]) -> str:
    return json.dumps(not_too_many(members))


def not_too_many(members: list[Any], param: str = "member") -> list[Any]:
    if len(members) > MAX_MEMBERS:
        raise FieldError(param, f"A team has at most {MAX_MEMBERS} members.")
    return members


def member_role(role: Any, param: str) -> str:
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


def list_of(body: Mapping[str, Any], field: str) -> list[Any]:
    value = body.get(field)
    if not isinstance(value, list | None):
        raise FieldError(field, f"'{field}' has to be an array.")
    return value or []


def declared_members(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns the members of a team in the config file as (user's id, role). Raises FieldError."""
    param = "members_with_roles"
    found: dict[str, str] = {}
    for member in not_too_many(list_of(fields, param), param):
        if not isinstance(member, Mapping):
            raise FieldError(param, f"'{param}' has to have mappings with a user_id and a role.")
        only_known(member, ("user_id", "role"), param)
        found[owners.valid_id(_USER, member.get("user_id"), param)] = member_role(member.get("role"), param)
    return tuple(found.items())
