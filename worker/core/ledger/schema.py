"""The database schema, version by version, and the migrations to the newest one.

Times are milliseconds since 1970, money is nano-dollars, flags are 0 or 1, and missing strings are ''.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from . import decision
from .decision import Decision, Dialect, Steps

if TYPE_CHECKING:
    from ..values.fields import FieldTable

# The newest version. Raise it with each new field and each new tuple below.
VERSION = 7

# Each tuple migrates a store to the next version. Released versions never change. The columns of the tables in
# `_by_fields` are not listed here: each version first adds those that their fields assign to it, then runs the
# statements below.
_TABLES: tuple[tuple[str, ...], ...] = (
    (
        # Secrets have their own table, because regeneration replaces them.
        "CREATE UNIQUE INDEX ledger_keys_alias ON ledger_keys (alias)",
        "CREATE INDEX ledger_keys_created ON ledger_keys (created, id)",
        # `expires`: the end of a grace period; null for the key's current secret.
        "CREATE TABLE ledger_secrets (hash TEXT PRIMARY KEY, key_id TEXT NOT NULL, expires BIGINT)",
        "CREATE INDEX ledger_secrets_key ON ledger_secrets (key_id)",
        # One row for each set of counters: 'global', 'key:<id>', 'user:<user_id>'. `start`: of the current period, to
        # which `spent` and `reserved` belong. `total`: spent in all periods. `requests`, `tokens`: within `minute`.
        """CREATE TABLE ledger_accounts (
            id TEXT PRIMARY KEY, start BIGINT NOT NULL DEFAULT 0,
            spent BIGINT NOT NULL DEFAULT 0, reserved BIGINT NOT NULL DEFAULT 0, total BIGINT NOT NULL DEFAULT 0,
            minute BIGINT NOT NULL DEFAULT 0, requests BIGINT NOT NULL DEFAULT 0, tokens BIGINT NOT NULL DEFAULT 0,
            parallel BIGINT NOT NULL DEFAULT 0)""",
        "INSERT INTO ledger_accounts (id) VALUES ('global')",
        # Past periods. A late report is still added to its own period.
        """CREATE TABLE ledger_periods (
            account TEXT NOT NULL, start BIGINT NOT NULL, spent BIGINT NOT NULL, PRIMARY KEY (account, start))""",
        # A reservation that becomes a line of the spend log. `state`: 0 open, 1 expired (charged in full until a report
        # corrects it), 2 settled. `charged`: what was added to the accounts' spending. `amount`: reserved.
        """CREATE TABLE ledger_requests (
            id TEXT PRIMARY KEY, state BIGINT NOT NULL, instance TEXT NOT NULL,
            key_id TEXT NOT NULL, key_alias TEXT NOT NULL, user_id TEXT NOT NULL,
            model TEXT NOT NULL, endpoint TEXT NOT NULL,
            amount BIGINT NOT NULL, charged BIGINT NOT NULL, tokens BIGINT NOT NULL, minute BIGINT NOT NULL,
            global_start BIGINT NOT NULL, key_start BIGINT NOT NULL, user_start BIGINT NOT NULL,
            created BIGINT NOT NULL, expires BIGINT NOT NULL, settled BIGINT,
            answered_by TEXT NOT NULL, deployment TEXT NOT NULL, status BIGINT, latency BIGINT,
            prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
            cached_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, estimated BIGINT NOT NULL)""",
        "CREATE INDEX ledger_requests_open ON ledger_requests (expires) WHERE state = 0",
        "CREATE INDEX ledger_requests_created ON ledger_requests (created, id)",
        "CREATE INDEX ledger_requests_key ON ledger_requests (key_id, created, id)",
    ),
    (
        # `alerted_*`: the period for which an alert was written, -1 for none.
        "ALTER TABLE ledger_accounts ADD COLUMN alerted_soft BIGINT NOT NULL DEFAULT -1",
        "ALTER TABLE ledger_accounts ADD COLUMN alerted_full BIGINT NOT NULL DEFAULT -1",
        """CREATE TABLE ledger_alerts (
            account TEXT NOT NULL, start BIGINT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
            spent BIGINT NOT NULL, reserved BIGINT NOT NULL, budget BIGINT NOT NULL, created BIGINT NOT NULL,
            attempts BIGINT NOT NULL DEFAULT 0, due BIGINT, PRIMARY KEY (account, start, kind))""",
        "CREATE INDEX ledger_alerts_due ON ledger_alerts (due) WHERE due IS NOT NULL",
    ),
    (),
    (
        # The client's own name for the request, '' if it has none. It need not be unique.
        "ALTER TABLE ledger_requests ADD COLUMN request_id TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX ledger_requests_named ON ledger_requests (request_id) WHERE request_id <> ''",
    ),
    (
        # A JSON list: the key's tags at admission and the request's own.
        "ALTER TABLE ledger_requests ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
    ),
    (
        # Responses that a provider does not store; see `kept_responses`. `owner`: the id of a key, or 'master'.
        # `size`: of `response` and `input`, which are encrypted.
        """CREATE TABLE ledger_responses (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT NULL,
            size BIGINT NOT NULL, response TEXT NOT NULL, input TEXT NOT NULL)""",
        "CREATE INDEX ledger_responses_owner ON ledger_responses (owner, created, size)",
        "CREATE INDEX ledger_responses_expires ON ledger_responses (expires)",
    ),
    (
        # `team_id`, `end_user`: '' for none. `others`: a JSON list of [account id, its period's start] for each account
        # that the request draws on besides the global one, its key's and its user's, in the order of ids.
        "ALTER TABLE ledger_requests ADD COLUMN team_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE ledger_requests ADD COLUMN end_user TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE ledger_requests ADD COLUMN others TEXT NOT NULL DEFAULT '[]'",
        # Who has accepted the alert: `alerts.WEBHOOK`, `alerts.SLACK`, both with a space between, or ''.
        "ALTER TABLE ledger_alerts ADD COLUMN sent TEXT NOT NULL DEFAULT ''",
        # The attempts that failed, a JSON list, '' for none.
        "ALTER TABLE ledger_requests ADD COLUMN attempts TEXT NOT NULL DEFAULT ''",
        # Of the deployment that responded, '' for none.
        "ALTER TABLE ledger_requests ADD COLUMN provider TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX ledger_requests_team ON ledger_requests (team_id, created, id) WHERE team_id <> ''",
        "CREATE INDEX ledger_requests_end_user ON ledger_requests (end_user, created, id) WHERE end_user <> ''",
        "CREATE INDEX ledger_keys_team ON ledger_keys (team_id, created, id) WHERE team_id <> ''",
        # People who are signed in to the dashboard; see `sessions`. `hash`: of the session's id. `login`: of the
        # sign-in that started it. `teams`, `admin_of`: JSON lists.
        """CREATE TABLE ledger_sessions (
            hash TEXT PRIMARY KEY, login TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL,
            role TEXT NOT NULL, teams TEXT NOT NULL, admin_of TEXT NOT NULL,
            seen BIGINT NOT NULL, idle BIGINT NOT NULL, expires BIGINT NOT NULL)""",
        "CREATE UNIQUE INDEX ledger_sessions_login ON ledger_sessions (login)",
        "CREATE INDEX ledger_sessions_user ON ledger_sessions (user_id)",
        "CREATE INDEX ledger_keys_user ON ledger_keys (user_id, created, id) WHERE user_id <> ''",
        "CREATE INDEX ledger_owners_email ON ledger_owners (LOWER(email)) WHERE email IS NOT NULL",
    ),
)


def _by_fields() -> "Mapping[str, FieldTable]":
    from .keys import KEYS
    from .owners import BUDGETS, OWNERS

    return {"ledger_keys": KEYS, "ledger_owners": OWNERS, "ledger_budgets": BUDGETS}


def _columns(name: str, table: "FieldTable", version: int) -> Iterator[str]:
    """Yields the statements that create the columns of a table that were added in this version."""
    added = {column: field.kind for column, field in table.columns.items() if field.since == version}
    if added and version == min(field.since for field in table.columns.values()):
        yield f"CREATE TABLE {name} ({', '.join(f'{column} {kind.sql}' for column, kind in added.items())})"
        return
    for column, kind in added.items():
        default = f" DEFAULT {_literal(kind.default)}" if kind.default is not None else ""
        yield f"ALTER TABLE {name} ADD COLUMN {column} {kind.sql}{default}"


def _literal(value: int | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


@cache
def migrations() -> tuple[tuple[str, ...], ...]:
    """Returns the statements that lead to each version. A store of the newest version needs none."""
    tables = _by_fields()
    newest = max(len(_TABLES), *(field.since for table in tables.values() for field in table.columns.values()))
    assert newest == VERSION, f"the schema has version {newest}: set VERSION"
    return tuple(
        (
            *(sql for name, table in tables.items() for sql in _columns(name, table, version)),
            *(_TABLES[version - 1] if version <= len(_TABLES) else ()),
        )
        for version in range(1, VERSION + 1)
    )


def writable() -> Decision:
    """Inserts and deletes a row: {"ok": True}. Fails on a full disk or a read-only replica.

    Updating a row to the same value would not be enough: SQLite writes no page for that.
    """
    return Decision(_writable(), whole=True)


def _writable() -> Steps:
    yield "INSERT INTO ledger_periods (account, start, spent) VALUES ('', 0, 0)", ()
    yield "DELETE FROM ledger_periods WHERE account = ''", ()
    return {"ok": True}


def readable() -> Decision:
    """Reads a row: {"ok": True}."""
    return Decision(_readable())


def _readable() -> Steps:
    yield "SELECT version FROM ledger_schema", ()
    return {"ok": True}


def migrate(dialect: Dialect, target: int = VERSION) -> Decision:
    """Migrates the store to `target`: {"ok": True, "version": int}, or a refusal if the store is newer."""
    return Decision(_migrate(dialect, target), transaction=True)


def _migrate(dialect: Dialect, target: int) -> Steps:
    for sql in dialect.lock:
        yield sql, ()
    yield "CREATE TABLE IF NOT EXISTS ledger_schema (version BIGINT NOT NULL)", ()
    rows = yield "SELECT version FROM ledger_schema", ()
    version = rows[0][0] if rows else 0
    if version > target:
        return decision.unavailable(
            f"The ledger was written by a newer version (schema {version}, this one knows {target})."
        )
    if not rows:
        yield "INSERT INTO ledger_schema (version) VALUES (0)", ()
    elif version < target:
        for sql in dialect.migration:
            yield sql, ()
    for statements in migrations()[version:target] if version < target else ():
        for sql in statements:
            yield sql, ()
    if version != target:
        yield "UPDATE ledger_schema SET version = ?", (target,)
    return {"ok": True, "version": target}
