"""Where SQLite and PostgreSQL need different statements.

On SQLite (a file, or a Durable Object's) a decision runs alone. On PostgreSQL several run at once at READ COMMITTED, so
there they take locks. Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
"""

from typing import NamedTuple


class Dialect(NamedTuple):
    """`lock`: the statements that decisions on the schema and on keys begin with, so that they run one at a time.
    `for_update`: ends a SELECT of accounts (`a`) and locks its rows, in the order of their ids.
    """

    lock: tuple[str, ...] = ()
    for_update: str = ""

    @property
    def locks(self) -> bool:
        """Whether others may change rows while a decision runs."""
        return bool(self.for_update)


SQLITE = Dialect()
# The number is arbitrary: nobody else who uses the database should take it.
POSTGRES = Dialect(("SELECT pg_advisory_xact_lock(7236254115)",), " ORDER BY a.id FOR UPDATE OF a")


def marks(count: int) -> str:
    return ", ".join("?" * count)
