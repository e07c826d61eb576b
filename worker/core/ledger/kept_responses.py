"""Responses kept for clients that refer to them later, where the provider stores none itself.

The content is opaque here: the proxy encrypts it. Each response belongs to the key that made it, or to the master key.
"""

from typing import Any

from .decision import Decision, Dialect, Steps, marks

MASTER = "master"
# A Durable Object's SQL accepts at most 100 parameters.
_AT_ONCE = 64


def keep(
    dialect: Dialect, id: str, owner: str, content: tuple[str, str], now: int, expires: int, most: int
) -> Decision:
    """Stores a response: {"ok": True, "kept": bool}. A key that was deleted in the meantime keeps nothing.

    `content`: the response and its input. `most`: the total size of the owner's content. The oldest responses make room
    for the new one.
    """
    return Decision(_keep(dialect, id, owner, content, now, expires, most), whole=True)


def find(id: str, owner: str, now: int) -> Decision:
    """Returns {"ok": True, "content": (response, input) or None if the owner has no such response}."""
    return Decision(_find(id, owner, now))


def forget(id: str, owner: str, now: int) -> Decision:
    """Deletes a response: {"ok": True, "deleted": whether the owner had it}."""
    return Decision(_forget(id, owner, now))


def trim(dialect: Dialect, now: int, limit: int) -> Decision:
    """Deletes up to `limit` expired responses, and those of deleted keys: {"ok": True, "deleted": int}. Call again
    while that equals `limit`."""
    return Decision(_trim(dialect, now, limit), whole=dialect.locks)


def delete_all(dialect: Dialect, owners: str, parameters: tuple[Any, ...]) -> Steps:
    """Deletes everything of some owners, as a part of another decision. `owners`: a list or a query of their ids."""
    yield f"SELECT a.id FROM ledger_responses a WHERE a.owner IN ({owners}){dialect.for_update}", parameters
    yield f"DELETE FROM ledger_responses WHERE owner IN ({owners})", parameters


def _keep(dialect: Dialect, id: str, owner: str, content: tuple[str, str], now: int, expires: int, most: int) -> Steps:
    size = sum(map(len, content))
    if size > most:
        return {"ok": True, "kept": False}
    rows = yield (
        "INSERT INTO ledger_responses (id, owner, created, expires, size, response, input) "
        f"SELECT ?, ?, ?, ?, ?, ?, ? WHERE ? = '{MASTER}' OR EXISTS (SELECT 1 FROM ledger_keys WHERE id = ?) "
        "RETURNING size",
        (id, owner, now, expires, size, *content, owner, owner),
    )
    if not rows:
        return {"ok": True, "kept": False}
    found = yield (
        "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM ledger_responses WHERE owner = ?",
        (owner,),
    )
    over = found[0][0] - most
    if over > 0:
        yield from _delete(
            dialect,
            "SELECT a.id FROM ledger_responses a WHERE a.id IN (SELECT id FROM (SELECT id, size, SUM(size) OVER "
            "(ORDER BY created, id) AS total FROM ledger_responses WHERE owner = ? AND id <> ?) oldest "
            "WHERE total - size < ?)",
            (owner, id, over),
        )
    return {"ok": True, "kept": True}


def _find(id: str, owner: str, now: int) -> Steps:
    rows = yield (
        "SELECT response, input FROM ledger_responses WHERE id = ? AND owner = ? AND expires > ?",
        (id, owner, now),
    )
    return {"ok": True, "content": tuple(rows[0]) if rows else None}


def _forget(id: str, owner: str, now: int) -> Steps:
    rows = yield "DELETE FROM ledger_responses WHERE id = ? AND owner = ? RETURNING expires", (id, owner)
    return {"ok": True, "deleted": bool(rows) and rows[0][0] > now}


def _trim(dialect: Dialect, now: int, limit: int) -> Steps:
    deleted = yield from _delete(
        dialect,
        "SELECT a.id FROM ledger_responses a WHERE a.id IN (SELECT r.id FROM ledger_responses r WHERE r.expires <= ? "
        f"OR (r.owner <> '{MASTER}' AND NOT EXISTS (SELECT 1 FROM ledger_keys k WHERE k.id = r.owner)) LIMIT ?)",
        (now, limit),
    )
    return {"ok": True, "deleted": deleted}


def _delete(dialect: Dialect, which: str, parameters: tuple[Any, ...]) -> Steps:
    """Deletes the responses that `which` selects. Locks them in one order, because two concurrent decisions may delete
    the same ones."""
    rows = yield which + dialect.for_update, parameters
    ids = [row[0] for row in rows]
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        yield f"DELETE FROM ledger_responses WHERE id IN ({marks(len(some))})", tuple(some)
    return len(ids)
