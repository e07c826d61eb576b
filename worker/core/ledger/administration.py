"""Maps a call of the admin API, as built by `api.admin`, to its decision.

A call is a plain dict, so it can be passed to a Durable Object as JSON:
{"name": the endpoint's, "key": str | None (from the path), "query": {name: str}, "body": JSON | None}
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ..values.fields import FieldError
from . import budget_admin, callers, decision, key_admin, owner_admin, owner_views, spend
from .accounts import Policy
from .decision import Decision, Dialect, Result, Scope, Steps
from .owners import OF_KIND, USER_ROLES, OwnerKind

Call = Mapping[str, Any]
# Default page sizes. For keys it is LiteLLM's.
_KEYS_PAGE, _SPEND_PAGE, _OWNERS_PAGE = 10, 100, 25
_MAX_NUMBER = 1_000_000
_LAST_SECOND = 100_000_000_000  # the year 5138; larger numbers are milliseconds
_MAX_DIGITS = 14
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_LAST_TIME = 253_402_300_799_999  # in milliseconds: the end of the year 9999, the last one `datetime` supports

# Whose endpoints they are, by the names of the endpoints without the last word. LiteLLM has two paths for end users.
_OWNERS = {
    "team": OF_KIND["team"],
    "user": OF_KIND["user"],
    "customer": OF_KIND["end_user"],
    "end_user": OF_KIND["end_user"],
    "tag": OF_KIND["tag"],
}


def decide(
    dialect: Dialect, policy: Policy, call: Call, now: int, credential: callers.Credential | None = None
) -> Decision:
    """Returns the decision for a call. It refuses if the query is invalid. `now`: milliseconds since 1970.

    `credential`: of a caller who may not be an operator, see `callers`; None for the master key.
    """
    if credential is None:
        return _decided(dialect, policy, now, call, None)
    return callers.restricted(dialect, policy, credential, call, now, partial(_decided, dialect, policy, now))


def _decided(dialect: Dialect, policy: Policy, now: int, call: Call, scope: Scope | None) -> Decision:
    """`scope`: the rows that the call may reach, None for all."""
    body = {} if call["body"] is None else call["body"]
    query = _Query(call["query"])
    try:
        match call["name"]:
            case "key_generate":
                return key_admin.generate(dialect, body, now)
            case "key_update":
                return key_admin.update(dialect, body, now)
            case "key_delete":
                return key_admin.delete(dialect, body)
            case "key_block":
                return key_admin.block(dialect, body, now)
            case "key_unblock":
                return key_admin.unblock(dialect, body, now)
            case "key_regenerate":
                return key_admin.regenerate(dialect, call["key"], body, now)
            case "key_info":
                return query.used(key_admin.info(query.text("key") or "", now))
            case "key_list":
                page, size = query.page(), query.size("size", _KEYS_PAGE, key_admin.MAX_PAGE)
                filters = _key_filters(query, scope)
                return query.used(key_admin.list_keys(page, size, now, filters, full=query.flag("return_full_object")))
            case "team_member_add":
                return owner_admin.member_add(dialect, body, now, policy)
            case "team_member_delete":
                return owner_admin.member_delete(dialect, body, now, policy)
            case "team_member_update":
                return owner_admin.member_update(dialect, body, now)
            case "tag_info":
                return owner_views.tags_info(body, now, policy)
            case "budget_new":
                return budget_admin.new(dialect, body, now)
            case "budget_update":
                return budget_admin.update(dialect, body, now)
            case "budget_delete":
                return budget_admin.delete(dialect, body)
            case "budget_info":
                return budget_admin.info(body)
            case "budget_settings":
                return query.used(budget_admin.settings(query.text("budget_id")))
            case "budget_list":
                page = query.page() if query.has("page") else None
                size = query.size("page_size", _OWNERS_PAGE, owner_views.MAX_PAGE)
                return query.used(budget_admin.list_budgets(page, size, query.text("search")))
            case name if (kind := _OWNERS.get(name.rpartition("_")[0])) is not None:
                return _of_owners(dialect, policy, kind, name.rpartition("_")[2], body, query, now)
            case "spend_logs":
                return query.used(spend.logs(_filters(query, scope)))
            case "spend_keys":
                page, size = query.page(), query.size("size", _SPEND_PAGE, spend.MAX_PAGE)
                return query.used(spend.by_key(now, page, size, scope))
            case "spend_activity":
                return query.used(spend.over_time(_wanted(query, now, scope), dialect))
            case "global_spend":
                return query.used(spend.everything(policy, now))
            case "session_revoke":
                return callers.revoke_sessions(dialect, body, now)
    except FieldError as error:
        return Decision(_refused(decision.invalid(error.message, error.param)))
    raise ValueError(f"{call['name']} is not a call of the admin API")


def _of_owners(
    dialect: Dialect, policy: Policy, kind: OwnerKind, action: str, body: Any, query: "_Query", now: int
) -> Decision:
    match action:
        case "new":
            return owner_admin.new(dialect, kind, body, now, policy)
        case "update":
            return owner_admin.update(dialect, kind, body, now, policy)
        case "block" | "unblock":
            return owner_admin.block(dialect, kind, body, action == "block", now, policy)
        case "delete":
            return owner_admin.delete(dialect, kind, body, now)
        case "info":
            id = query.text("end_user_id" if kind.name == "end_user" else kind.id)
            most = query.size("key_limit", owner_views.KEYS_SHOWN, owner_views.MAX_PAGE)
            return query.used(owner_views.info(kind, id, now, policy, most))
        case _:
            page = query.page() if query.has("page") or kind.name == "user" or action == "page" else None
            size = query.size("page_size", _OWNERS_PAGE, owner_views.MAX_PAGE)
            return query.used(owner_views.list_owners(kind, page, size, now, _owner_filters(kind, query), policy))


def _owner_filters(kind: OwnerKind, query: "_Query") -> owner_views.Filters:
    common = owner_views.Filters(
        search=query.text("search"),
        sort=query.text("sort_by"),
        descending=query.choice("sort_order", ("asc", "desc")) == "desc",
    )
    match kind.name:
        case "team":
            id = query.text("team_id")
            return common._replace(
                member=query.text("user_id"), ids=(id,) if id else None, alias=query.text("team_alias")
            )
        case "user":
            return common._replace(
                role=query.choice("role", USER_ROLES),
                ids=query.names("user_ids", owner_views.MOST_NAMED),
                email=query.text("user_email"),
                team=query.text("team"),
            )
    return common


def _key_filters(query: "_Query", scope: Scope | None) -> key_admin.KeyFilters:
    return key_admin.KeyFilters(
        user_id=query.text("user_id"),
        team_id=query.text("team_id"),
        alias=query.text("key_alias"),
        token=query.text("key_hash"),
        status=query.choice("status", tuple(key_admin.STATUSES)),
        search=query.text("search"),
        scope=scope,
    )


def _filters(query: "_Query", scope: Scope | None) -> spend.Filters:
    return spend.Filters(
        key=query.text("key", "api_key"),
        model=query.text("model"),
        status=query.status("status"),
        begin=query.time("from", "start_date"),
        end=query.time("to", "end_date", whole_day=True),
        after=query.text("after"),
        size=query.size("size", _SPEND_PAGE, spend.MAX_PAGE),
        request_id=query.text("request_id"),
        user_id=query.text("user_id"),
        team_id=query.text("team_id"),
        end_user=query.text("end_user"),
        tag=query.text("tag"),
        scope=scope,
    )


def _wanted(query: "_Query", now: int, scope: Scope | None) -> spend.Wanted:
    end = query.time("to", "end_date", whole_day=True)
    return spend.Wanted(
        begin=query.time("from", "start_date"),
        end=now + 1 if end is None else end,
        bucket=query.choice("bucket", tuple(spend.BUCKETS)) or "hour",
        group_by=query.choice("group_by", tuple(spend.GROUPS)) or "model",
        user_id=query.text("user_id"),
        team_id=query.text("team_id"),
        end_user=query.text("end_user"),
        tag=query.text("tag"),
        scope=scope,
    )


class _Query:
    """Query parameters; an empty one counts as absent. Methods raise FieldError for invalid values."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._left = {name: value for name, value in given.items() if value != ""}

    def used(self, decision: Decision) -> Decision:
        """Returns the decision if every parameter was used: silently ignoring a filter is worse than refusing it."""
        for name in self._left:
            decision.steps.close()
            raise FieldError(name, f"'{name}' is not a parameter of this path.")
        return decision

    def has(self, name: str) -> bool:
        return name in self._left

    def text(self, *names: str) -> str | None:
        """Returns the value of the first of the names that was sent."""
        found = self._take(names)
        return None if found is None else found[1]

    def names(self, name: str, most: int) -> tuple[str, ...] | None:
        """Returns the names in a list with commas."""
        value = self.text(name)
        if value is None:
            return None
        found = tuple(one.strip() for one in value.split(",") if one.strip())
        if not 1 <= len(found) <= most:
            raise FieldError(name, f"'{name}' has to be 1 to {most} names, separated by commas.")
        return found

    def choice(self, name: str, known: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in known:
            raise FieldError(name, f"'{name}' has to be one of {', '.join(known)}.")
        return value

    def page(self) -> int:
        return self.size("page", 1, _MAX_NUMBER)

    def size(self, name: str, default: int, most: int) -> int:
        found = self._take((name,))
        if found is None:
            return default
        value = _whole(found[1])
        if value is None or not 1 <= value <= most:
            raise FieldError(name, f"'{name}' has to be a whole number from 1 to {most}.")
        return value

    def flag(self, name: str) -> bool:
        found = self._take((name,))
        if found is None:
            return False
        if found[1] not in _FLAGS:
            raise FieldError(name, f"'{name}' has to be true or false.")
        return _FLAGS[found[1]]

    def status(self, name: str) -> str | int | None:
        """Returns one of spend.STATUSES, or an HTTP status."""
        value = self.text(name)
        if value is None or value in spend.STATUSES:
            return value
        number = _whole(value)
        if number is None or not 100 <= number <= 599:
            raise FieldError(name, f"'{name}' has to be success, failure, or an HTTP status such as 429.")
        return number

    def time(self, *names: str, whole_day: bool = False) -> int | None:
        """Returns milliseconds since 1970. `whole_day`: a date without a time means the end of that day."""
        found = self._take(names)
        if found is None:
            return None
        name, value = found
        number = _whole(value)
        if number is not None:
            return number * 1000 if number < _LAST_SECOND else number
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            if whole_day and len(value) <= len("2026-01-31"):
                moment += timedelta(days=1)
            at = int(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            at = -1
        if not 0 <= at <= _LAST_TIME:
            message = (
                f"'{name}' has to be a day or a time such as 2026-01-31 or 2026-01-31T12:00:00Z, or seconds since 1970."
            )
            raise FieldError(name, message)
        return at

    def _take(self, names: tuple[str, ...]) -> tuple[str, str] | None:
        sent = [(name, self._left.pop(name)) for name in names if name in self._left]
        if len(sent) > 1:
            raise FieldError(
                sent[1][0], f"'{sent[0][0]}' and '{sent[1][0]}' are the same parameter: send only one of them."
            )
        return sent[0] if sent else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _refused(result: Result) -> Steps:
    return result
    yield
