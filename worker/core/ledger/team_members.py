"""Members of teams, compatible with LiteLLM's endpoints. They are stored in the team's row as
[{"user_id", "role"}, …]."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..values.fields import FieldError, only
from . import decision, key_admin, keys, owner_views, owners
from .accounts import NO_POLICY, Policy
from .decision import Decision, Dialect, Steps
from .owner_fields import MAX_MEMBERS, MEMBER_ROLES, OF_KIND, TEAM, USER, Owner

_TEAM, _USER = OF_KIND[TEAM], OF_KIND[USER]


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


def declared(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns the members of a team in the config file as (user's id, role). Raises FieldError."""
    param = "members_with_roles"
    found: dict[str, str] = {}
    for member in not_too_many(list_of(fields, param), param):
        if not isinstance(member, Mapping):
            raise FieldError(param, f"'{param}' has to have mappings with a user_id and a role.")
        only_known(member, ("user_id", "role"), param)
        found[owners.valid_id(_USER, member.get("user_id"), param)] = member_role(member.get("role"), param)
    return tuple(found.items())
