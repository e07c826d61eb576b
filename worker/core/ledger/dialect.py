"""The differences between SQLite and PostgreSQL.

On SQLite (a file or a Durable Object) decisions run one at a time. On PostgreSQL they run concurrently at READ
COMMITTED, so they take locks.
Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
"""

from collections.abc import Iterable
from typing import NamedTuple


class Dialect(NamedTuple):
    """`lock`: statements that serialize decisions on the schema and on keys. `for_update`: appended to a SELECT of
    accounts (`a`) to lock its rows, the global one first."""

    lock: tuple[str, ...] = ()
    for_update: str = ""

    @property
    def locks(self) -> bool:
        """Whether rows can change while a decision runs."""
        return bool(self.for_update)


SQLITE = Dialect()
# An arbitrary number; other applications that use the database must not take this lock.
POSTGRES = Dialect(("SELECT pg_advisory_xact_lock(7236254115)",), " ORDER BY a.id <> 'global', a.id FOR UPDATE OF a")


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
