"""Decisions: generators that yield SQL statements, receive their rows, and return a plain result or a refusal.

They run on SQLite and on PostgreSQL; a `Dialect` has the differences. On SQLite (a file or a Durable Object) decisions
run one at a time. On PostgreSQL they run concurrently at READ COMMITTED, so they take locks.
Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..values.fields import FieldError


class Dialect(NamedTuple):
    """`lock`: statements that serialize decisions on the schema and on keys. `for_update`: appended to a SELECT of
    accounts (`a`) to lock its rows, the global one first. `tags`: those of a line (`r`) as a table `t`. `array`: the
    function that makes a JSON array. `migration`: statements before a migration, which fail rather than wait for
    long."""

    lock: tuple[str, ...] = ()
    for_update: str = ""
    tags: str = "json_each(r.tags) AS t"
    array: str = "json_array"
    migration: tuple[str, ...] = ()

    @property
    def locks(self) -> bool:
        """Whether rows can change while a decision runs."""
        return bool(self.for_update)


SQLITE = Dialect()
# A Durable Object's statement takes 100 parameters. Who administers more teams sees the first of them.
_MOST_TEAMS = 50
# An arbitrary number; other applications that use the database must not take this lock.
POSTGRES = Dialect(
    ("SELECT pg_advisory_xact_lock(7236254115)",),
    " ORDER BY a.id <> 'global', a.id FOR UPDATE OF a",
    "LATERAL jsonb_array_elements_text(CAST(r.tags AS jsonb)) AS t(value)",
    "json_build_array",
    # Processes of the previous version lock these tables in their own order. A migration gives way before the server
    # looks for a deadlock, which takes it a second and may end one of their transactions.
    (
        "SET LOCAL lock_timeout = '300ms'",
        "LOCK TABLE ledger_keys, ledger_accounts, ledger_requests IN ACCESS EXCLUSIVE MODE",
    ),
)


def marks(count: int) -> str:
    return ", ".join("?" * count)


def containing(columns: Iterable[str], text: str) -> tuple[str, list[str]]:
    """Returns a condition that any of the columns contains the text, and its parameters. Case does not matter for
    ASCII; for other letters it depends on the database. A Durable Object limits LIKE patterns to 50 bytes."""
    parts = [
        f"REPLACE(LOWER({column}), ?, '') <> LOWER({column}) OR REPLACE({column}, ?, '') <> {column}"
        for column in columns
    ]
    return f"({' OR '.join(parts)})", [text.lower(), text] * len(parts)


class Scope(NamedTuple):
    """The rows that a caller of the admin API may see: its own, and those of teams."""

    user_id: str = ""
    teams: tuple[str, ...] = ()

    def condition(self, table: str) -> tuple[str, list[Any]]:
        """Returns an SQL condition on the columns `user_id` and `team_id` of `table`, and its parameters."""
        parts, values = [], []
        if self.user_id:
            parts.append(f"{table}.user_id = ?")
            values.append(self.user_id)
        if self.teams:
            some = self.teams[:_MOST_TEAMS]
            parts.append(f"{table}.team_id IN ({marks(len(some))})")
            values += some
        return f"({' OR '.join(parts) or '1 = 0'})", values


Row = Sequence[Any]
Parameters = tuple[Any, ...] | list[tuple[Any, ...]]
Statement = tuple[str, Parameters]
Steps = Generator[Statement, list[Row], Any]


class Decision(NamedTuple):
    """`transaction`: the statements are atomic, and on disk before the result is returned. `whole`: atomic, with the
    store's usual durability.

    A decision with neither flag tolerates interruption between any two statements and concurrent changes in between: it
    makes each change in one conditional statement. A store may still run it in a transaction.
    """

    steps: Steps
    transaction: bool = False
    whole: bool = False


def run(decision: Decision, execute: Any) -> Any:
    """Runs a decision with a synchronous `execute(sql, parameters)` that returns rows. Closes it on an exception."""
    steps = decision.steps
    try:
        sql, parameters = next(steps)
        while True:
            sql, parameters = steps.send(execute(sql, parameters))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


Result = dict[str, Any]


def change(dialect: Dialect, body: Any, steps: Steps) -> Decision:
    """Returns the decision of an endpoint that changes keys, owners or budgets. No two of them run at once. A body that
    is no JSON object and a FieldError are refused."""
    return Decision(_change(dialect, body, steps), transaction=True)


def _change(dialect: Dialect, body: Any, steps: Steps) -> Steps:
    if not isinstance(body, Mapping):
        steps.close()
        return invalid("The body has to be a JSON object.")
    for sql in dialect.lock:
        yield sql, ()
    try:
        return (yield from steps)
    except FieldError as error:
        return invalid(error.message, error.param)


def refuse(
    status: int,
    type: str,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after: int | None = None,
    headers: list[list[str]] | None = None,
) -> Result:
    """Builds a refusal. `retry_after` (in seconds) is also sent as a header."""
    headers = list(headers or [])
    if retry_after is not None:
        headers.append(["retry-after", str(retry_after)])
    return {
        "ok": False,
        "status": status,
        "type": type,
        "code": code,
        "message": message,
        "param": param,
        "retry_after": retry_after,
        "headers": headers,
    }


def invalid(message: str, param: str | None = None, code: str | None = None) -> Result:
    return refuse(400, "invalid_request_error", message, param=param, code=code)


def not_found(message: str, param: str | None = None) -> Result:
    return refuse(404, "invalid_request_error", message, param=param, code="not_found")


def unauthenticated(message: str) -> Result:
    return refuse(
        401, "authentication_error", message, code="invalid_api_key", headers=[["www-authenticate", "Bearer"]]
    )


def model_refused(model: str) -> Result:
    return refuse(403, "permission_error", f"This key may not use the model '{model}'.", param="model")


def rate_limited(message: str, retry_after: int, headers: list[list[str]] | None = None) -> Result:
    return refuse(
        429, "rate_limit_error", message, code="rate_limit_exceeded", retry_after=retry_after, headers=headers
    )


def budget_exceeded(message: str, retry_after: int | None) -> Result:
    """Refuses with `x-should-retry: false`, which the SDKs obey: an immediate retry would be refused again."""
    headers = [["x-should-retry", "false"]]
    return refuse(429, "budget_exceeded", message, code="budget_exceeded", retry_after=retry_after, headers=headers)


def budget_held(message: str) -> Result:
    """Refuses until a running request ends. Most requests cost less than their reservation."""
    return refuse(429, "budget_exceeded", message, code="budget_exceeded", retry_after=1)


def soon(refused: Result, account_id: str) -> Result:
    """Marks a refusal that may be lifted by the end of a running request of this account."""
    return {**refused, "soon": account_id}


def unavailable(message: str, retry_after: int = 1) -> Result:
    return refuse(503, "service_unavailable", message, code="service_unavailable", retry_after=retry_after)
