"""Spending and requests over time, by model or by key. The dashboard's charts use it.

Both the work and the result are bounded, however large the log is: a limited number of buckets, the newest
`max_requests` requests in the range, and the largest groups, with all others combined.
"""

from typing import Any, NamedTuple

from ..values import periods
from ..values.money import usd
from . import spend
from .decision import Decision, Row, Steps
from .dialect import Dialect, Scope, marks

# The length of a bucket in milliseconds and the maximum number of buckets in a range.
BUCKETS = {"hour": (periods.HOUR, 31 * 24), "day": (periods.DAY, 400)}
DEFAULT_BUCKETS = {"hour": 24, "day": 30}
COLUMNS = {
    "model": "r.model",
    "key": f"CASE WHEN {spend.WITH_JWT} THEN 'jwt' ELSE r.key_id END",
    "user": "r.user_id",
    "team": "r.team_id",
    "end_user": "r.end_user",
    "provider": "r.provider",
    "tag": "COALESCE(t.value, '')",
}
MAX_REQUESTS = 100_000
MAX_GROUPS = 20
_COUNTED = ("spend", "requests", "failures", "prompt_tokens", "completion_tokens")
_SUMS = f"""CAST(SUM(r.charged) AS BIGINT), COUNT(*),
    CAST(SUM(CASE WHEN {spend.STATUSES["failure"]} THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(r.prompt_tokens) AS BIGINT), CAST(SUM(r.completion_tokens) AS BIGINT)"""
_RANGE = "r.state > 0 AND r.created >= ? AND r.created < ?"


class Wanted(NamedTuple):
    """`begin` ≤ time of the request < `end`, in milliseconds. If `begin` is None, the default range up to `end`.
    `user_id` … `tag`: only requests of these owners, None for any. `scope`: whose requests, None for all."""

    begin: int | None
    end: int
    bucket: str = "hour"
    group_by: str = "model"
    max_requests: int = MAX_REQUESTS
    max_groups: int = MAX_GROUPS
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None
    tag: str | None = None
    scope: Scope | None = None


def over_time(wanted: Wanted, dialect: Dialect) -> Decision:
    """`GET /spend/activity`: {"from", "to", "bucket", "group_by", "complete_from", "groups": [totals of each group,
    largest first], "data": [{"start", "group", "spend", "requests", …}]}.

    A group is a model's name, the id of a key, a user, a team or an end user, a tag or a provider, '' for none; null
    combines all groups that are not listed. A request with several tags counts for each of them. Buckets start on UTC
    boundaries. Empty buckets and running requests are left out.
    """
    return Decision(_over_time(wanted, dialect))


def _over_time(wanted: Wanted, dialect: Dialect) -> Steps:
    length, most = BUCKETS[wanted.bucket]
    usual = wanted.end - 1 - (DEFAULT_BUCKETS[wanted.bucket] - 1) * length
    begin = max(usual if wanted.begin is None else wanted.begin, wanted.end - 1 - (most - 1) * length)
    begin -= begin % length
    column = COLUMNS[wanted.group_by]
    conditions, theirs = spend.whose(wanted.user_id, wanted.team_id, wanted.end_user, wanted.tag)
    if wanted.scope is not None:
        condition, more = wanted.scope.condition("r")
        conditions, theirs = [*conditions, condition], [*theirs, *more]
    within = " AND ".join((_RANGE, *conditions))
    lines = f"ledger_requests r LEFT JOIN {dialect.tags} ON TRUE" if wanted.group_by == "tag" else "ledger_requests r"
    first = yield (
        "SELECT created FROM ledger_requests WHERE created >= ? AND created < ? ORDER BY created DESC LIMIT 1 OFFSET ?",
        (begin, wanted.end, wanted.max_requests),
    )
    complete_from = first[0][0] + 1 if first else begin
    totals = yield (
        f"SELECT {column}, MAX(r.key_alias), {_SUMS} FROM {lines} WHERE {within} "
        "GROUP BY 1 ORDER BY 3 DESC, 4 DESC, 1 LIMIT ?",
        (complete_from, wanted.end, *theirs, wanted.max_groups),
    )
    groups = tuple(row[0] for row in totals)
    names = yield from _names(totals, wanted.group_by)
    rows: list[Row] = []
    if groups:
        group = f"CASE WHEN {column} IN ({marks(len(groups))}) THEN {column} END"
        rows = yield (
            f"SELECT r.created - r.created % ?, {group}, {_SUMS} FROM {lines} WHERE {within} "
            "GROUP BY 1, 2 ORDER BY 1, 2",
            (length, *groups, complete_from, wanted.end, *theirs),
        )
    return {
        "ok": True,
        "body": {
            "from": periods.iso(begin),
            "to": periods.iso(wanted.end),
            "bucket": wanted.bucket,
            "group_by": wanted.group_by,
            "complete_from": periods.iso(complete_from),
            "groups": [{"group": row[0], "name": names[row[0]], **_counted(row[2:])} for row in totals],
            "data": [{"start": periods.iso(row[0]), "group": row[1], **_counted(row[2:])} for row in rows],
        },
    }


def _names(totals: list[Row], group_by: str) -> Steps:
    """Returns the display names of the groups. A deleted key keeps the alias it last had."""
    if group_by in ("model", "provider") or not totals:
        return {row[0]: row[0] or "none" for row in totals}
    ids = tuple(row[0] for row in totals)
    if group_by != "key":
        accounts = [f"{group_by}:{id}" for id in ids]
        found = yield f"SELECT account, alias FROM ledger_owners WHERE account IN ({marks(len(ids))})", tuple(accounts)
        aliases = {row[0]: row[1] for row in found}
        return {id: aliases.get(account) or id or "none" for id, account in zip(ids, accounts, strict=True)}
    found = yield f"SELECT id, COALESCE(alias, hint) FROM ledger_keys WHERE id IN ({marks(len(ids))})", ids
    known = {row[0]: row[1] for row in found}
    return {key_id: known.get(key_id) or alias or key_id or "master key" for key_id, alias, *_ in totals}


def _counted(sums: Row) -> dict[str, Any]:
    found = dict(zip(_COUNTED, sums, strict=True))
    return {**found, "spend": usd(found["spend"])}
