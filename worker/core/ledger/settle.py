"""What a report changes in its request. `batch` does the reads and writes.

    open ──report──▶ settled            final: a second report changes nothing
      └──expiry──▶ expired ──report──▶ settled    charged in full until the report arrives

A reservation always belongs to the periods in which it was admitted and to the container instance that received the
request. No other instance may report on it or renew it.
"""

import json
from operator import itemgetter
from typing import Any, NamedTuple

from ..values.money import MAX_NANO
from .accounts import GLOBAL, key_account, user_account
from .admit import ROW
from .decision import SQLITE, Decision, Dialect, Row, Steps, marks
from .keys import Key

# The accounts of deployments that may answer a request.
_OF_CANDIDATES = ("provider:", "deployment:", "model:")
OPEN, EXPIRED, SETTLED = 0, 1, 2
# A Durable Object's SQL accepts at most 100 parameters.
_RENEW_AT_ONCE = 50
_EVERYONE = "SELECT a.id FROM ledger_accounts a WHERE a.id = ?"

_NAMES = (
    "id state instance key_id user_id amount charged tokens minute global_start key_start user_start others".split()
)
COLUMNS = ", ".join(f"r.{name}" for name in _NAMES)


class Report(NamedTuple):
    """The final usage of a request. `cost` is in nano-dollars, `latency` in milliseconds.

    `status`: of the response, 499 if the client disconnected. `estimated`: 1 if the provider did not report usage.
    `answered_by`: the public name of the model that responded, which may be a fallback. `attempts`: those that failed,
    a JSON list as `handlers.attempts` writes it; '' for none. `provider`: of the deployment that responded, '' if
    none did. None from older containers: the request is then charged to every candidate's account that it drew on.
    `group`: the model group of that deployment, '' if it has the name `answered_by`.
    """

    id: str
    instance: str
    cost: int
    answered_by: str = ""
    deployment: str = ""
    status: int = 200
    latency: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    attempts: str = ""
    provider: str | None = None
    group: str = ""

    @property
    def fields(self) -> list[Any]:
        """As sent from the container to the edge. What is at the end and says nothing is left out, because older
        objects do not know it."""
        fields = [*self]
        while fields[-1] in ("", None):
            fields.pop()
        return fields


# The columns that a report changes.
REPORTED = (
    "state charged settled answered_by deployment status latency prompt_tokens completion_tokens cached_tokens "
    "reasoning_tokens estimated attempts provider"
).split()


class Found:
    """A stored request that a report refers to, with the budgets of its key. See `schema`. `draws`: the ids of the
    accounts that pay for the request, each with the period in which it was admitted."""

    __slots__ = (
        "amount", "charged", "draws", "id", "instance", "key_id", "max_budget", "minute", "others", "soft_budget",
        "state", "tokens", "user_id",
    )  # fmt: skip

    id: str
    state: int
    instance: str
    key_id: str
    user_id: str
    amount: int
    charged: int
    tokens: int
    minute: int
    others: str
    soft_budget: int | None
    max_budget: int | None
    draws: list[tuple[str, int]]

    def __init__(self, row: Row) -> None:
        (
            self.id,
            self.state,
            self.instance,
            self.key_id,
            self.user_id,
            self.amount,
            self.charged,
            self.tokens,
            self.minute,
            everyones,
            keys,
            users,
            self.others,
            self.soft_budget,
            self.max_budget,
        ) = row
        self.draws = [(GLOBAL, everyones)]
        if self.key_id:
            self.draws.append((key_account(self.key_id), keys))
        if self.user_id:
            self.draws.append((user_account(self.user_id), users))
        if self.others != "[]":
            self.draws += [(name, start) for name, start in json.loads(self.others)]


_OPENED = itemgetter(
    *map(
        ROW.index,
        "id instance key_id user_id amount tokens minute global_start key_start user_start others".split(),
    )
)


def opened(row: Row, key: Key | None) -> Found:
    """Returns a request that has not changed since `admit.row_of` made its row, and that is its key's."""
    id, instance, key_id, user_id, amount, tokens, minute, *starts, others = _OPENED(row)
    budgets = (None, None) if key is None else (key.soft_budget, key.max_budget)
    return Found((id, OPEN, instance, key_id, user_id, amount, 0, tokens, minute, *starts, others, *budgets))


def bind(id: str, instance: str) -> Decision:
    """Assigns the request to the instance that received it, whichever was expected. If the expected instance stopped
    and the reservation expired with it, it stays expired until this instance reports."""
    return Decision(_bind(id, instance))


def renew(instance: str, ids: list[str], expires: int, dialect: Dialect = SQLITE) -> Decision:
    """Extends the open reservations of requests that are still running to `expires`."""
    return Decision(_renew(dialect, instance, ids, expires), whole=dialect.locks)


def objection(found: Found | None, report: Report) -> str:
    """Returns why a report changes nothing, '' if it does: "unknown" (no such reservation), "foreign" (another
    instance's) or "duplicate" (already settled). Reporting again does not help."""
    if found is None:
        return "unknown"
    if found.instance != report.instance and found.instance and report.instance:
        return "foreign"
    return "duplicate" if found.state == SETTLED else ""


def unused(found: Found, report: Report) -> set[str]:
    """Returns the accounts of candidates that a request drew on and that did not answer it. They are charged
    nothing."""
    if found.others == "[]" or (report.provider is None and (report.deployment or report.cost)):
        return set()
    model = report.group or report.answered_by
    answered = (f"provider:{report.provider}", f"deployment:{report.deployment}", f"model:{model}")
    return {name for name, _ in found.draws if name.startswith(_OF_CANDIDATES) and name not in answered}


def reported(found: Found, report: Report, now: int) -> tuple[Any, ...]:
    """Returns the request's values for the columns in REPORTED."""
    return (
        SETTLED,
        min(max(0, report.cost), MAX_NANO),
        now,
        report.answered_by,
        report.deployment,
        report.status,
        report.latency,
        report.prompt_tokens,
        report.completion_tokens,
        report.cached_tokens,
        report.reasoning_tokens,
        report.estimated,
        report.attempts,
        report.provider or "",
    )


def _bind(id: str, instance: str) -> Steps:
    sql = "UPDATE ledger_requests SET instance = ? WHERE id = ? AND state < ? RETURNING id"
    rows = yield sql, (instance, id, SETTLED)
    return {"ok": True, "bound": len(rows)}


def _renew(dialect: Dialect, instance: str, ids: list[str], expires: int) -> Steps:
    if dialect.locks:  # as whoever changes requests: a batch changes them in another order, and would be deadlocked
        yield _EVERYONE + dialect.for_update, (GLOBAL,)
    renewed = 0
    ids = sorted(ids)
    for first in range(0, len(ids), _RENEW_AT_ONCE):
        some = ids[first : first + _RENEW_AT_ONCE]
        rows = yield (
            "UPDATE ledger_requests SET expires = ? WHERE state = 0 AND instance = ? AND expires < ? "
            f"AND id IN ({marks(len(some))}) RETURNING id",
            (expires, instance, expires, *some),
        )
        renewed += len(rows)
    return {"ok": True, "renewed": renewed}
