"""Rows of ledger_owners: teams, users, end users and tags, as parts of decisions about them."""

import json
from collections.abc import Mapping
from typing import Any

from ..values import periods
from ..values.fields import FieldError, is_printable
from . import decision, keys
from .accounts import open_account
from .decision import Steps, marks
from .owner_fields import OF_KIND, OWNERS, USER, Owner, OwnerKind

COLUMNS = ", ".join(f"o.{name}" for name in OWNERS.columns)
_BY_ACCOUNT = f"SELECT {COLUMNS} FROM ledger_owners o WHERE o.account = ?"
_LONGEST_EMAIL = OF_KIND[USER].longest


def insert(kind: OwnerKind, id: str, wanted: Mapping[str, Any], now: int, *, declared: int = 0) -> Steps:
    """Inserts a row and opens its account, as a part of another decision. `wanted`: its columns."""
    values = {**OWNERS.defaults, **wanted}
    row = {
        "account": kind.account(id), "members": "[]", **values, "created": now, "updated": now, "declared": declared,
    }  # fmt: skip
    yield f"INSERT INTO ledger_owners ({', '.join(row)}) VALUES ({marks(len(row))})", tuple(row.values())
    yield open_account(kind.account(id), periods.start(values["budget_duration"], now))


def change(account: str, values: Mapping[str, Any], now: int) -> Steps:
    if values.get("blocked") and account.startswith("user:"):  # not to come back when it is unblocked
        yield from end_sessions(account.removeprefix("user:"), now)
    values = {**values, "updated": now}
    sql = f"UPDATE ledger_owners SET {', '.join(f'{name} = ?' for name in values)} WHERE account = ?"
    yield sql, (*values.values(), account)


def end_sessions(user_id: str, now: int) -> Steps:
    """Ends a user's sessions (see `sessions`), as a part of another decision. Returns how many."""
    rows = yield (
        "UPDATE ledger_sessions SET expires = ? WHERE user_id = ? AND expires > ? AND seen + idle > ? RETURNING hash",
        (now, user_id, now, now),
    )
    return len(rows)


def valid_id(kind: OwnerKind, id: Any, param: str) -> str:
    if not is_printable(id, kind.longest):
        raise FieldError(param, f"'{param}' has to be a string of 1 to {kind.longest} printable characters.")
    return id


def find(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Returns (owner, None) or (None, refusal). Raises FieldError for what is no id."""
    if id is None:
        raise FieldError(param, f"'{param}' is missing.")
    rows = yield _BY_ACCOUNT, (kind.account(valid_id(kind, id, param)),)
    if not rows:
        return None, decision.not_found(f"There is no {kind.word} '{id}'.", param)
    return Owner._make(rows[0]), None


def changeable(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Like `find`, but refuses owners in the config file: the next start would undo the change."""
    found, refused = yield from find(kind, id, param)
    if found is not None and found.declared == keys.DECLARED:
        return None, in_the_file(kind)
    return found, refused


def in_the_file(kind: OwnerKind) -> dict[str, Any]:
    return decision.invalid(
        f"This {kind.word} stands in the config file (general_settings.{kind.words}): change it there.", kind.id
    )


def by_email(email: Any, param: str = "user_email") -> Steps:
    """Returns (owner or None, None), or (None, refusal)."""
    if not is_printable(email, _LONGEST_EMAIL):
        raise FieldError(param, f"'{param}': an e-mail address has to be a string of printable characters.")
    rows = yield f"SELECT {COLUMNS} FROM ledger_owners o WHERE LOWER(o.email) = LOWER(?) LIMIT 2", (email,)
    if len(rows) > 1:
        return None, decision.invalid("Several users have this e-mail address: use 'user_id'.", param)
    return (Owner._make(rows[0]) if rows else None), None


def teams_of(user_id: str) -> Steps:
    """Returns the Owners of the teams that a user is in, as a part of another decision."""
    condition, parameters = has_member(user_id)
    rows = yield f"SELECT {COLUMNS} FROM ledger_owners o WHERE {condition} ORDER BY o.account", parameters
    return [Owner._make(row) for row in rows]


def has_member(user_id: str) -> tuple[str, tuple[str, ...]]:
    # Not LIKE, whose patterns a Durable Object limits to 50 bytes. A quotation mark within an id is escaped.
    return (
        "o.account LIKE 'team:%' AND REPLACE(o.members, ?, '') <> o.members",
        (f'{{"user_id": {json.dumps(user_id)}, ',),
    )
