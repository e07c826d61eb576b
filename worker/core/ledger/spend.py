"""Spending: line by line, by key, in total, and over time. It contains metadata only, never prompts or completions.

Over time, by model or by key, it is what the dashboard's charts show. Both the work and the result are bounded, however
large the log is: a limited number of buckets, the newest `max_requests` requests in the range, and the largest groups,
with all others combined.
"""

import json
import re
from typing import Any, NamedTuple

from ..values import periods
from ..values.money import usd
from . import decision, keys
from .accounts import COLUMNS, GLOBAL, Account, Policy
from .decision import Decision, Dialect, Row, Scope, Steps, marks

MAX_PAGE = 1000
_TRIM_AT_ONCE = 500
_STATES = {0: "running", 1: "expired", 2: "settled"}
# Of a line: when it was created, and its id.
_CURSOR = re.compile("[0-9]{1,15}-[0-9a-f]{32}")
# A request lost with its process has no status and is charged in full; it counts as a failure.
STATUSES = {"success": "r.status BETWEEN 200 AND 399", "failure": "(r.status >= 400 OR r.state = 1)"}
_NAMES = (
    "id state key_id key_alias user_id model endpoint amount charged created settled answered_by deployment status "
    "latency prompt_tokens completion_tokens cached_tokens reasoning_tokens estimated request_id tags attempts "
    "team_id end_user provider"
).split()
_COLUMNS = ", ".join(f"r.{name}" for name in _NAMES)


# The shown key of requests without a virtual key, and a condition on them. Those with the master key have neither a
# user nor a team.
WITH_JWT = "r.key_id = '' AND (r.user_id <> '' OR r.team_id <> '')"
_KEYLESS = {"master": "r.key_id = '' AND r.user_id = '' AND r.team_id = ''", "jwt": WITH_JWT}


class Filters(NamedTuple):
    """`key`: a secret, a token, a key's id, 'master' or 'jwt'. `status`: one of STATUSES, or an HTTP status. `begin` ≤
    time of the request < `end`, in milliseconds. `after`: the cursor from the previous page. `request_id`: a response's
    `x-request-id`, which a client may have used for several requests. `tag`: one of its tags. `scope`: whose lines,
    None for all."""

    key: str | None = None
    model: str | None = None
    status: str | int | None = None
    begin: int | None = None
    end: int | None = None
    after: str | None = None
    size: int = 100
    request_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None
    tag: str | None = None
    scope: Scope | None = None


def logs(filters: Filters) -> Decision:
    """`GET /spend/logs`: {"data": [line], "next": cursor | None}, newest first, without running requests."""
    return Decision(_logs(filters))


def by_key(now: int, page: int = 1, size: int = 100, scope: Scope | None = None) -> Decision:
    """`GET /spend/keys`: {"data": [{"token", "key_alias", "spend", "total_spend", …}], "total_count"}, highest spending
    first. Deleted keys appear with their account only."""
    return Decision(_by_key(now, max(1, page), min(max(1, size), MAX_PAGE), scope))


def everything(policy: Policy, now: int) -> Decision:
    """`GET /global/spend`: {"spend", "reserved", "total_spend", "max_budget", "budget_reset_at", "periods": […]}."""
    return Decision(_everything(policy, now))


def trim(before: int, limit: int = _TRIM_AT_ONCE) -> Decision:
    """Deletes lines older than `before` (milliseconds), except running requests: {"deleted": int}. Call again while
    that equals `limit`. Totals are unaffected."""
    return Decision(_trim(before, limit))


def trim_old(days: float, now: int, limit: int = _TRIM_AT_ONCE) -> Decision:
    """Deletes lines older than `days`; see `trim`."""
    return trim(now - kept_ms(days), limit)


def kept_ms(days: float) -> int:
    """Returns the retention time in milliseconds."""
    return int(days * periods.DAY)


def _logs(filters: Filters) -> Steps:
    where, parameters = ["r.state > 0"], []
    if filters.key in _KEYLESS:
        where.append(_KEYLESS[filters.key])
    elif filters.key is not None:
        key_id = filters.key
        if key_id.startswith(keys.SECRET_PREFIX) or len(key_id) == 64:
            rows = yield "SELECT key_id FROM ledger_secrets WHERE hash = ?", (keys.reference(key_id),)
            if not rows and filters.scope is None:
                return decision.not_found("This key does not exist.", "key")
            # Within a scope, a key of somebody else's looks the same as one that does not exist.
            key_id = rows[0][0] if rows else filters.key
        where.append("r.key_id = ?")
        parameters.append(key_id)
    status = filters.status
    if isinstance(status, str):
        where.append(STATUSES[status])
        status = None
    for condition, value in (
        ("r.model = ?", filters.model),
        ("r.status = ?", status),
        ("r.created >= ?", filters.begin),
        ("r.created < ?", filters.end),
    ):
        if value is not None:
            where.append(condition)
            parameters.append(value)
    conditions, values = whose(filters.user_id, filters.team_id, filters.end_user, filters.tag)
    where += conditions
    parameters += values
    if filters.request_id is not None:
        # The index on request_id excludes ''. The condition must say so, or the index is not used.
        where.append("(r.id = ? OR (r.request_id = ? AND r.request_id <> ''))")
        parameters += [filters.request_id, filters.request_id]
    if filters.scope is not None:
        condition, values = filters.scope.condition("r")
        where.append(condition)
        parameters += values
    if filters.after is not None:
        if not _CURSOR.fullmatch(filters.after):
            return decision.invalid("'after' is not a valid cursor.", "after")
        created, _, last = filters.after.partition("-")
        where.append("(r.created < ? OR (r.created = ? AND r.id < ?))")
        parameters += [int(created), int(created), last]
    size = min(max(1, filters.size), MAX_PAGE)
    rows = yield (
        f"SELECT {_COLUMNS} FROM ledger_requests r WHERE {' AND '.join(where)} "
        "ORDER BY r.created DESC, r.id DESC LIMIT ?",
        (*parameters, size + 1),
    )
    lines: list[dict[str, Any]] = [dict(zip(_NAMES, row, strict=True)) for row in rows[:size]]
    cursor = f"{lines[-1]['created']}-{lines[-1]['id']}" if len(rows) > size else None
    return {"ok": True, "body": {"data": [_line(line) for line in lines], "next": cursor}}


def whose(
    user_id: str | None, team_id: str | None, end_user: str | None, tag: str | None
) -> tuple[list[str], list[str]]:
    """Returns conditions on the lines `r` of these owners, None for any, and their parameters."""
    conditions: list[str] = []
    parameters: list[str] = []
    for name, value in (("user_id", user_id), ("team_id", team_id), ("end_user", end_user)):
        if value is not None:
            # The indexes exclude ''. The condition must say so, or they are not used.
            conditions.append(f"r.{name} = ? AND r.{name} <> ''" if value else f"r.{name} = ?")
            parameters.append(value)
    if tag is not None:
        conditions.append("(REPLACE(r.tags, ?, '') <> r.tags OR REPLACE(r.tags, ?, '') <> r.tags)")
        parameters += [f"[{json.dumps(tag)}", f", {json.dumps(tag)}"]  # the first in the list, or a later one
    return conditions, parameters


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": line["request_id"] or line["id"],
        "state": _STATES[line["state"]],
        "startTime": periods.iso(line["created"]),
        "endTime": periods.iso(line["settled"]),
        "key_id": line["key_id"] or ("jwt" if line["user_id"] or line["team_id"] else "master"),
        "key_alias": line["key_alias"] or None,
        "user_id": line["user_id"] or None,
        "team_id": line["team_id"] or None,
        "end_user": line["end_user"] or None,
        "request_tags": json.loads(line["tags"]),
        "endpoint": line["endpoint"],
        "model": line["model"],
        "answered_by": line["answered_by"] or None,
        "deployment": line["deployment"] or None,
        "provider": line["provider"] or None,
        "spend": usd(line["charged"]),
        "reserved": usd(line["amount"]),
        "prompt_tokens": line["prompt_tokens"],
        "completion_tokens": line["completion_tokens"],
        "cached_tokens": line["cached_tokens"],
        "reasoning_tokens": line["reasoning_tokens"],
        "estimated": bool(line["estimated"]),
        "status": line["status"],
        "latency_ms": line["latency"],
        "attempts": json.loads(line["attempts"] or "[]"),
    }


def _by_key(now: int, page: int, size: int, scope: Scope | None) -> Steps:
    where, values = "a.id LIKE 'key:%'", []
    if scope is not None:
        condition, values = scope.condition("k")
        where += f" AND {condition}"
    joined = "LEFT JOIN ledger_keys k ON 'key:' || k.id = a.id"
    counted = yield f"SELECT COUNT(*) FROM ledger_accounts a {joined if scope else ''} WHERE {where}", tuple(values)
    rows = yield (
        f"SELECT {COLUMNS}, k.alias, k.hint, k.user_id, k.budget_duration, s.hash FROM ledger_accounts a {joined} "
        "LEFT JOIN ledger_secrets s ON s.key_id = k.id AND s.expires IS NULL "
        f"WHERE {where} ORDER BY a.total DESC, a.id LIMIT ? OFFSET ?",
        (*values, size, (page - 1) * size),
    )
    return {"ok": True, "body": {"data": [_key_line(row, now) for row in rows], "total_count": counted[0][0]}}


def _key_line(row: Row, now: int) -> dict[str, Any]:
    found: Account = Account(row[:-5])
    alias, hint, user_id, duration, token = row[-5:]
    current = periods.goes_on(found.start, duration, now)
    return {
        "token": token,
        "key_id": found.id.removeprefix("key:"),
        "key_name": hint,
        "key_alias": alias,
        "user_id": user_id or None,
        "spend": usd(found.spent) if current else 0.0,
        "reserved": usd(found.reserved) if current else 0.0,
        "running_requests": found.parallel,
        "total_spend": usd(found.total),
    }


def _everything(policy: Policy, now: int) -> Steps:
    rows = yield f"SELECT {COLUMNS} FROM ledger_accounts a WHERE a.id = ?", (GLOBAL,)
    past = yield (
        "SELECT start, spent FROM ledger_periods WHERE account = ? ORDER BY start DESC LIMIT 100",
        (GLOBAL,),
    )
    found = Account(rows[0])
    limit = policy.everyone
    current = periods.goes_on(found.start, limit.duration, now)
    return {
        "ok": True,
        "body": {
            "spend": usd(found.spent) if current else 0.0,
            "reserved": usd(found.reserved) if current else 0.0,
            "total_spend": usd(found.total),
            "max_budget": None if limit.max_budget is None else usd(limit.max_budget),
            "budget_duration": limit.duration,
            "budget_reset_at": periods.iso(periods.end(limit.duration, now)),
            "running_requests": found.parallel,
            "periods": [{"start": periods.iso(start), "spend": usd(spent)} for start, spent in past],
        },
    }


def _trim(before: int, limit: int) -> Steps:
    rows = yield (
        "DELETE FROM ledger_requests WHERE id IN "
        "(SELECT id FROM ledger_requests WHERE created < ? AND state > 0 ORDER BY created LIMIT ?) "
        "AND state > 0 RETURNING id",
        (before, limit),
    )
    return {"ok": True, "deleted": len(rows)}


# The length of a bucket in milliseconds and the maximum number of buckets in a range.
BUCKETS = {"hour": (periods.HOUR, 31 * 24), "day": (periods.DAY, 400)}
DEFAULT_BUCKETS = {"hour": 24, "day": 30}
GROUPS = {
    "model": "r.model",
    "key": f"CASE WHEN {WITH_JWT} THEN 'jwt' ELSE r.key_id END",
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
    CAST(SUM(CASE WHEN {STATUSES["failure"]} THEN 1 ELSE 0 END) AS BIGINT),
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
    column = GROUPS[wanted.group_by]
    conditions, theirs = whose(wanted.user_id, wanted.team_id, wanted.end_user, wanted.tag)
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
