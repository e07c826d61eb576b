"""Lists of teams, users, end users and tags, and what responses show of each, compatible with LiteLLM's."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values.fields import FieldError, only
from . import decision, key_admin, owners
from .accounts import COLUMNS as ACCOUNT_COLUMNS
from .accounts import NO_POLICY, Account, Limits, Policy, counters, merged
from .decision import Decision, Row, Steps, containing, marks
from .owners import BUDGETS, END_USER, OF_KIND, OWNERS, TAG, TEAM, USER, Budget, Owner, OwnerKind

MAX_PAGE = 500
# The most that a list without pages returns, which is how LiteLLM's own lists are.
MAX_UNPAGED = 1000
# A Durable Object's statement takes 100 parameters.
MOST_NAMED = 50
KEYS_SHOWN = 100
_TEAM, _USER = OF_KIND[TEAM], OF_KIND[USER]
_WIDTH = len(OWNERS.columns)
_BUDGET_WIDTH = len(BUDGETS.columns)
_SHOWN = f"""SELECT {owners.COLUMNS}, {", ".join(f"b.{name}" for name in BUDGETS.columns)}, {ACCOUNT_COLUMNS}
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


def info(kind: OwnerKind, id: Any, now: int, policy: Policy = NO_POLICY, keys_shown: int = KEYS_SHOWN) -> Decision:
    """`GET /team/info`, `/user/info` and `/customer/info`. `keys_shown`: the most keys in the response."""
    return Decision(_info(kind, id, keys_shown, now, policy))


def tags_info(body: Any, now: int, policy: Policy = NO_POLICY) -> Decision:
    """`POST /tag/info`: the tags in `names`, by name."""
    return Decision(_tags_info(body, now, policy))


def list_owners(
    kind: OwnerKind, page: int | None, size: int, now: int, filters: Filters = _ANY, policy: Policy = NO_POLICY
) -> Decision:
    """`GET /team/list` and its like, newest first. `page` counts from 1; without it, the response is one array. Raises
    FieldError."""
    order = _order(kind, filters)
    return Decision(_list(kind, page, min(max(1, size), MAX_PAGE), filters, order, now, policy))


def _info(kind: OwnerKind, id: Any, keys_shown: int, now: int, policy: Policy) -> Steps:
    param = "end_user_id" if kind.name == END_USER else kind.id
    try:
        _, refused = yield from owners.find(kind, id, param)
    except FieldError as error:
        return decision.invalid(error.message, error.param)
    if refused:
        return refused
    shown = yield from one(kind, id, now, policy)
    if kind.name == END_USER:
        return {"ok": True, "body": shown}
    its_keys = yield from key_admin.shown_of(kind.id, id, keys_shown, now)
    if kind is _TEAM:
        return {"ok": True, "body": {"team_id": id, "team_info": shown, "keys": its_keys, "team_memberships": []}}
    teams = yield from some(_TEAM, [team.id for team in (yield from owners.teams_of(id))], now, policy)
    return {"ok": True, "body": {"user_id": id, "user_info": shown, "keys": its_keys, "teams": teams}}


def _tags_info(body: Any, now: int, policy: Policy) -> Steps:
    kind = OF_KIND[TAG]
    found: dict[str, Any] = {}
    try:
        only(body, ("names",))
        for name in ids_in(kind, body, "names"):
            _, refused = yield from owners.find(kind, name, "names")
            if refused:
                return refused
            found[name] = yield from one(kind, name, now, policy)
    except FieldError as error:
        return decision.invalid(error.message, error.param)
    return {"ok": True, "body": found}


def one(kind: OwnerKind, id: str, now: int, policy: Policy) -> Steps:
    rows = yield f"{_SHOWN} WHERE o.account = ?", (kind.account(id),)
    return (yield from _all(kind, rows, now, policy))[0]


def some(
    kind: OwnerKind, ids: Sequence[str], now: int, policy: Policy, condition: str = "1 = 1", *parameters: Any
) -> Steps:
    """Returns those with these ids that fulfil a condition on `o`, as the responses show them."""
    rows: list[Row] = []
    for first in range(0, len(ids), MOST_NAMED):
        some = [kind.account(id) for id in ids[first : first + MOST_NAMED]]
        rows += yield f"{_SHOWN} WHERE o.account IN ({marks(len(some))}) AND {condition}", (*some, *parameters)
    return (yield from _all(kind, rows, now, policy))


def _list(
    kind: OwnerKind, page: int | None, size: int, filters: Filters, order: str, now: int, policy: Policy
) -> Steps:
    where, parameters = _conditions(kind, filters)
    if filters.team is not None:
        return (yield from _list_members(filters, where, parameters, page or 1, size, now, policy))
    counted = yield f"SELECT COUNT(*) FROM ledger_owners o WHERE {where}", tuple(parameters)
    total = counted[0][0]
    if page is None and total > MAX_UNPAGED:
        return decision.invalid(f"There are more than {MAX_UNPAGED} {kind.words}: ask for one 'page' of them.", "page")
    rows = yield (
        f"{_SHOWN} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        (*parameters, MAX_UNPAGED if page is None else size, 0 if page is None else (page - 1) * size),
    )
    shown = yield from _all(kind, rows, now, policy)
    return {"ok": True, "body": shown if page is None else paged(kind.words, shown, total, page, size)}


def _list_members(
    filters: Filters, where: str, parameters: list[Any], page: int, size: int, now: int, policy: Policy
) -> Steps:
    """The users in a team. A team has few enough of them to sort them here."""
    rows = yield "SELECT members FROM ledger_owners WHERE account = ?", (_TEAM.account(filters.team or ""),)
    ids = [one["user_id"] for one in json.loads(rows[0][0])] if rows else []
    found = yield from some(_USER, ids, now, policy, where, *parameters)
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
        condition, found = owners.has_member(filters.member)
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


def _all(kind: OwnerKind, rows: list[Row], now: int, policy: Policy) -> Steps:
    """Returns rows of `_SHOWN` as the responses show them."""
    found = [Owner._make(row[:_WIDTH]) for row in rows]
    shown = []
    for owner, row in zip(found, rows, strict=True):
        budget, account = row[_WIDTH : _WIDTH + _BUDGET_WIDTH], row[_WIDTH + _BUDGET_WIDTH :]
        supplied = Budget._make(budget) if budget[0] is not None else None
        limits = owner.limits.filled(supplied.limits) if supplied else owner.limits
        usual = policy.limits(owner.account)
        limits = merged(limits, usual) if usual else limits
        counted = Account(account) if account[0] is not None else None
        shown.append(_shown(kind, owner, supplied, limits, counted, now))
    if kind.name in (TEAM, USER):
        yield from _count_keys(kind, shown)
    if kind is _TEAM:
        yield from _add_members(found, shown)
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


def _add_members(teams: list[Owner], shown: list[dict[str, Any]]) -> Steps:
    found = [json.loads(team.members) for team in teams]
    emails = yield from emails_of(one["user_id"] for members in found for one in members)
    for members, one in zip(found, shown, strict=True):
        one["members_with_roles"] = [{**member, "user_email": emails.get(member["user_id"])} for member in members]
        one["members_count"] = len(members)


def _add_teams(shown: list[dict[str, Any]]) -> Steps:
    if len(shown) == 1:
        shown[0]["teams"] = [team.id for team in (yield from owners.teams_of(shown[0]["user_id"]))]
        return
    rows = yield "SELECT account, members FROM ledger_owners WHERE account LIKE 'team:%' AND members <> '[]'", ()
    teams: dict[str, list[str]] = {}
    for account, members in sorted(rows, key=lambda row: row[0]):
        for member in json.loads(members):
            teams.setdefault(member["user_id"], []).append(account.partition(":")[2])
    for one in shown:
        one["teams"] = teams.get(one["user_id"], [])


def emails_of(user_ids: Iterable[str]) -> Steps:
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


def ids_in(kind: OwnerKind, body: Mapping[str, Any], field: str) -> list[str]:
    ids = body.get(field)
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_NAMED:
        raise FieldError(field, f"'{field}' has to be an array of 1 to {MOST_NAMED} ids.")
    return list(dict.fromkeys(owners.valid_id(kind, id, field) for id in ids))
