"""The differences between SQLite and PostgreSQL.

On SQLite (a file or a Durable Object) decisions run one at a time. On PostgreSQL they run concurrently at READ
COMMITTED, so they take locks.
Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
"""

from collections.abc import Iterable
from typing import Any, NamedTuple


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
