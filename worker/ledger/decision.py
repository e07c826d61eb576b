"""What a decision is: a generator that yields statements, is sent their rows and returns a plain result.

    decision = admission.admit(...)
    rows = <run the statement that was yielded>      # a list of rows, each a sequence of columns in the order asked for
    decision.steps.send(rows)                        # StopIteration carries the result

Statements are SQL that SQLite and PostgreSQL both understand, with `?` for parameters, which are int, float, str or
None. A list of parameter tuples has the statement carried out for each of them, and no rows are sent. Results are
dicts, lists, texts and numbers only: they have to survive the way out of a Durable Object.
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

Row = Sequence[Any]
Parameters = tuple[Any, ...] | list[tuple[Any, ...]]
Statement = tuple[str, Parameters]
Steps = Generator[Statement, list[Row], Any]


class Decision(NamedTuple):
    """`transaction`: all statements or none take effect, and they are on the disk before the result is known. `whole`:
    all or none, and as durable as any other.

    A decision with neither is written for being interrupted between any two statements, and for others changing the
    rows in between: what it changes, it changes in one conditional statement. A store may still use a transaction.
    """

    steps: Steps
    transaction: bool = False
    whole: bool = False


def run(decision: Decision, execute: Any) -> Any:
    """The result, where `execute(sql, parameters)` answers at once with rows. Closes the decision if that raises."""
    steps = decision.steps
    try:
        sql, parameters = next(steps)
        while True:
            sql, parameters = steps.send(execute(sql, parameters))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
