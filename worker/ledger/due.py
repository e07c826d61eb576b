"""When a host that can be woken has something to do next."""

from .decision import Decision, Steps

_FIRST = (
    ("reservation", "SELECT expires FROM ledger_requests WHERE state = 0 ORDER BY expires LIMIT 1"),
    ("alert", "SELECT due FROM ledger_alerts WHERE due IS NOT NULL ORDER BY due LIMIT 1"),
    ("line", "SELECT created FROM ledger_requests WHERE state > 0 ORDER BY created LIMIT 1"),
)


def due() -> Decision:
    """{"reservation": when the first one expires, "alert": when the first is to be sent, "line": from when the oldest
    line of the spend log is}; milliseconds since 1970, None where there is none."""
    return Decision(_due())


def _due() -> Steps:
    found = {}
    for name, sql in _FIRST:
        rows = yield sql, ()
        found[name] = rows[0][0] if rows else None
    return found
