"""The key endpoints of the admin API, compatible with LiteLLM's. Changes apply from the next request.

Each decision takes the request's JSON body, not validated yet, and returns {"ok": True, "body": …} or a refusal. A key
is named by its secret or by its `token`, the secret's SHA-256.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..values import periods
from ..values.fields import FieldError, check_budgets, only
from . import decision, kept_responses, keys
from .accounts import COLUMNS as ACCOUNT_COLUMNS
from .accounts import Account, key_account, open_account, team_account, user_account
from .decision import Decision, Dialect, Row, Scope, Steps, containing, marks

_MAX_KEYS_AT_ONCE = 50
_NAME_SOME = f"Name 1 to {_MAX_KEYS_AT_ONCE} keys in 'keys', in 'key_aliases', or in both."
MAX_PAGE = 500
_IN_THE_FILE = (
    "This key stands in the config file (general_settings.virtual_keys): change it there. Here it can be blocked and "
    "unblocked."
)
_BY_TOKEN = f"""SELECT {keys.COLUMNS}, s.expires FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id
WHERE s.hash = ?"""
# Left joins, so that each key yields one row even if the others are missing.
_SHOWN = f"""SELECT {keys.COLUMNS}, s.hash, COALESCE(k.budget_duration, kb.budget_duration), {ACCOUNT_COLUMNS}
FROM ledger_keys k {keys.JOIN_BUDGET}
LEFT JOIN ledger_secrets s ON s.key_id = k.id AND s.expires IS NULL
LEFT JOIN ledger_accounts a ON a.id = 'key:' || k.id"""


def generate(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /key/generate`. Only this response and that of a regeneration show the secret."""
    return decision.change(dialect, body, generated(body, now))


def update(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /key/update`: `key` and the fields to change; null unsets a field."""
    return decision.change(dialect, body, _update(body, now))


def regenerate(dialect: Dialect, key: str, body: Any, now: int) -> Decision:
    """`POST /key/{key}/regenerate`: a new secret. The old one stays valid for `grace_period`, if given."""
    return decision.change(dialect, body, _regenerate(key, body, now))


def block(dialect: Dialect, body: Any, now: int) -> Decision:
    return decision.change(dialect, body, _block(body, 1, now))


def unblock(dialect: Dialect, body: Any, now: int) -> Decision:
    return decision.change(dialect, body, _block(body, 0, now))


def delete(dialect: Dialect, body: Any) -> Decision:
    """`POST /key/delete`: `keys`, `key_aliases` or both. Returns the deleted tokens and aliases. Spending stays in the
    log and in the totals; the responses that were kept for the key are deleted."""
    return decision.change(dialect, body, _delete(dialect, body))


def info(key: str, now: int) -> Decision:
    """`GET /key/info?key=…`."""
    return Decision(_info(key, now))


class KeyFilters(NamedTuple):
    """The filters of `GET /key/list`: exact values, None for any. `status`: one of STATUSES. `search`: a part of the
    alias, of the secret as shown, or of the user's id, or a whole secret or token. `scope`: whose keys."""

    user_id: str | None = None
    team_id: str | None = None
    alias: str | None = None
    token: str | None = None
    status: str | None = None
    search: str | None = None
    scope: Scope | None = None


# LiteLLM's statuses. Every key has exactly one. A blocked key is `revoked`.
STATUSES = {
    "active": "k.blocked = 0 AND (k.expires IS NULL OR k.expires > ?)",
    "expired": "k.blocked = 0 AND k.expires <= ?",
    "revoked": "k.blocked = 1",
}
_ANY = KeyFilters()


def list_keys(page: int, size: int, now: int, filters: KeyFilters = _ANY, *, full: bool = False) -> Decision:
    """`GET /key/list`: tokens, or complete keys with `full`; newest first. `page` counts from 1."""
    return Decision(_list(max(1, page), min(max(1, size), MAX_PAGE), now, filters, full))


def generated(body: Mapping[str, Any], now: int) -> Steps:
    """Makes a key, as a part of another decision, and returns the response or a refusal. Raises FieldError."""
    wanted = keys.KEYS.read(body, ("key",), now)
    text = keys.chosen_secret(body, "key") or keys.new_secret()
    values = {**keys.DEFAULTS, **wanted}
    refused = (yield from _taken(text, wanted.get("alias"), "")) or (yield from not_fitting(values, values))
    if refused:
        return refused
    key_id = keys.new_id()
    yield keys.insert_columns({"id": key_id, "hint": keys.hint_of(text), **values, "created": now, "updated": now})
    yield "INSERT INTO ledger_secrets (hash, key_id) VALUES (?, ?)", (keys.hash_secret(text), key_id)
    yield open_account(key_account(key_id), periods.start(values["budget_duration"], now))
    if values["user_id"]:
        yield open_account(user_account(values["user_id"]), 0)
    return (yield from _with_secret(key_id, text, now))


def _update(body: Mapping[str, Any], now: int) -> Steps:
    wanted = keys.KEYS.read(body, ("key",), now)
    found, refused = yield from _changeable(body.get("key"))
    if refused:
        return refused
    if wanted.get("alias") is not None:
        taken = yield from _taken(None, wanted["alias"], found.id)
        if taken:
            return taken
    refused = yield from not_fitting(wanted, {**found._asdict(), **wanted})
    if refused:
        return refused
    check_budgets(wanted, found._asdict())
    yield from _change(found.id, wanted, now)
    if wanted.get("user_id"):
        yield open_account(user_account(wanted["user_id"]), 0)
    return (yield from _show_one(found.id, now))


def _regenerate(key: str, body: Mapping[str, Any], now: int) -> Steps:
    wanted = keys.KEYS.read(body, ("key", "new_key", "grace_period"), now)
    grace = keys.grace_of(body)
    text = keys.chosen_secret(body, "new_key") or keys.new_secret()
    found, refused = yield from _changeable(key)
    if refused:
        return refused
    check_budgets(wanted, found._asdict())
    refused = (yield from _taken(text, wanted.get("alias"), found.id)) or (
        yield from not_fitting(wanted, {**found._asdict(), **wanted})
    )
    if refused:
        return refused
    yield "DELETE FROM ledger_secrets WHERE key_id = ? AND expires <= ?", (found.id, now)
    if grace:
        # An older secret that is still in its grace period keeps its own expiry.
        sql = "UPDATE ledger_secrets SET expires = ? WHERE key_id = ? AND expires IS NULL"
        yield sql, (now + grace, found.id)
    else:
        yield "DELETE FROM ledger_secrets WHERE key_id = ?", (found.id,)
    yield "INSERT INTO ledger_secrets (hash, key_id) VALUES (?, ?)", (keys.hash_secret(text), found.id)
    yield from _change(found.id, {**wanted, "hint": keys.hint_of(text)}, now)
    if wanted.get("user_id"):
        yield open_account(user_account(wanted["user_id"]), 0)
    return (yield from _with_secret(found.id, text, now))


def _block(body: Mapping[str, Any], blocked: int, now: int) -> Steps:
    only(body, ("key",))
    found, refused = yield from _named(body.get("key"))
    if refused:
        return refused
    yield from _change(found.id, {"blocked": blocked}, now)
    return (yield from _show_one(found.id, now))


def _delete(dialect: Dialect, body: Mapping[str, Any]) -> Steps:
    only(body, ("keys", "key_aliases"))
    named, aliases = _names(body, "keys"), _names(body, "key_aliases")
    if not named and not aliases:
        raise FieldError("keys", _NAME_SOME)
    tokens = [keys.reference(name) for name in named]
    deleted: list[str] = []
    doomed: set[str] = set()
    for param, column, names in (("keys", "s.hash", tokens), ("key_aliases", "k.alias", aliases)):
        wanted = list(dict.fromkeys(names))
        if not wanted:
            continue
        rows = yield (
            f"SELECT {column}, k.id, k.declared FROM ledger_keys k LEFT JOIN ledger_secrets s ON s.key_id = k.id "
            f"WHERE {column} IN ({marks(len(wanted))})",
            tuple(wanted),
        )
        missing = set(wanted) - {row[0] for row in rows}
        if missing:
            return decision.not_found(f"{len(missing)} of these keys do not exist; nothing was deleted.", param)
        if any(row[2] == keys.DECLARED for row in rows):
            return decision.invalid(_IN_THE_FILE, param)
        doomed |= {row[1] for row in rows}
        deleted += wanted
    for key_id in sorted(doomed):
        yield "DELETE FROM ledger_secrets WHERE key_id = ?", (key_id,)
        yield "DELETE FROM ledger_keys WHERE id = ?", (key_id,)
        yield from kept_responses.delete_all(dialect, "?", (key_id,))
    return {"ok": True, "body": {"deleted_keys": deleted}}


def _names(body: Mapping[str, Any], field: str) -> list[str]:
    names = [] if body.get(field) is None else body[field]
    if not isinstance(names, list) or len(names) > _MAX_KEYS_AT_ONCE or not all(isinstance(n, str) for n in names):
        raise FieldError(field, _NAME_SOME)
    return names


def _info(name: str, now: int) -> Steps:
    found, refused = yield from _named(name)
    if refused:
        return refused
    fields = (yield from _show_one(found.id, now))["body"]
    return {"ok": True, "body": {"key": fields["token"], "info": fields}}


def _list(page: int, size: int, now: int, filters: KeyFilters, full: bool) -> Steps:
    conditions, values = _conditions(filters, now)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    counted = yield f"SELECT COUNT(*) FROM ledger_keys k{where}", tuple(values)
    total = counted[0][0]
    rows = yield (
        f"{_SHOWN}{where} ORDER BY k.created DESC, k.id LIMIT ? OFFSET ?",
        (*values, size, (page - 1) * size),
    )
    shown = [_shown(row, now) for row in rows]
    return {
        "ok": True,
        "body": {
            "keys": shown if full else [s["token"] for s in shown],
            "total_count": total,
            "current_page": page,
            "total_pages": -(-total // size),
        },
    }


def _conditions(filters: KeyFilters, now: int) -> tuple[list[str], list[Any]]:
    """Returns SQL conditions on `k` and their parameters."""
    found: list[tuple[str, list[Any]]] = []
    if filters.user_id is not None:
        found.append(("k.user_id = ?", [filters.user_id]))
    if filters.team_id is not None:
        found.append(("k.team_id = ? AND k.team_id <> ''", [filters.team_id]))
    if filters.alias is not None:
        found.append(("k.alias = ?", [filters.alias]))
    if filters.token is not None:
        by_secret = "k.id IN (SELECT key_id FROM ledger_secrets WHERE hash = ? AND (expires IS NULL OR expires > ?))"
        found.append((by_secret, [keys.reference(filters.token), now]))
    if filters.scope is not None:
        found.append(filters.scope.condition("k"))
    if filters.status is not None:
        condition = STATUSES[filters.status]
        found.append((condition, [now] * condition.count("?")))
    if filters.search is not None:
        condition, parts = containing(("k.alias", "k.hint", "k.user_id"), filters.search)
        by_secret = "k.id IN (SELECT key_id FROM ledger_secrets WHERE hash = ?)"
        found.append((f"({condition} OR {by_secret})", [*parts, keys.reference(filters.search)]))
    return [condition for condition, _ in found], [value for _, values in found for value in values]


def _named(name: Any) -> Steps:
    """Returns (key, None) or (None, refusal)."""
    if not isinstance(name, str) or not name:
        return None, decision.invalid("'key' is missing.", "key")
    rows = yield _BY_TOKEN, (keys.reference(name),)
    if not rows:
        return None, decision.not_found("This key does not exist.", "key")
    return keys.key(rows[0][: keys.COLUMN_COUNT]), None


def _changeable(name: Any) -> Steps:
    """Like `_named`, but refuses declared keys: the next start would undo the change."""
    found, refused = yield from _named(name)
    if found is not None and found.declared == keys.DECLARED:
        return None, decision.invalid(_IN_THE_FILE, "key")
    return found, refused


def _taken(text: str | None, alias: str | None, key_id: str) -> Steps:
    """Returns a refusal if another key has the secret or the alias."""
    if text is not None:
        rows = yield "SELECT key_id FROM ledger_secrets WHERE hash = ?", (keys.hash_secret(text),)
        if rows:
            return decision.invalid("This key already exists.", "key")
    if alias is not None:
        rows = yield "SELECT id FROM ledger_keys WHERE alias = ?", (alias,)
        if rows and rows[0][0] != key_id:
            return decision.invalid(f"A key with the alias '{alias}' already exists.", "key_alias")
    return None


def not_fitting(changed: Collection[str], values: Mapping[str, Any]) -> Steps:
    """Returns a refusal if the key's team or budget does not exist, or if the team may not use the key's models.
    `values`: the columns of the key after the change."""
    if values["budget_id"] and "budget_id" in changed:
        rows = yield "SELECT 1 FROM ledger_budgets WHERE id = ?", (values["budget_id"],)
        if not rows:
            return decision.not_found(f"There is no budget '{values['budget_id']}'.", "budget_id")
    names = json.loads(values["models"])
    if "team_id" not in changed and "models" not in changed:
        return None
    if not values["team_id"]:
        if keys.TEAM_MODELS in names:
            return decision.invalid(f"'{keys.TEAM_MODELS}' is for keys with a team_id.", "models")
        return None
    rows = yield "SELECT models, model_aliases FROM ledger_owners WHERE account = ?", (team_account(values["team_id"]),)
    if not rows:
        return decision.not_found(f"There is no team '{values['team_id']}'.", "team_id")
    allowed = keys.with_aliases(*rows[0])
    for name in names:
        # A pattern is within another if that matches it as text. A key of no models needs none of its team's.
        wanted = "*" if name == keys.ALL_MODELS else name
        if name not in (keys.TEAM_MODELS, keys.NO_MODELS) and not keys.allows(allowed, wanted):
            return decision.invalid(f"The team '{values['team_id']}' may not use the model '{name}'.", "models")
    return None


def delete_all(dialect: Dialect, condition: str, parameters: tuple[Any, ...]) -> Steps:
    """Deletes the keys that fulfil a condition on `k`, as a part of another decision. Returns (their number, None), or
    (0, refusal) if one of them stands in the config file."""
    which = f"SELECT k.id FROM ledger_keys k WHERE {condition}"
    rows = yield f"{which} AND k.declared = ? LIMIT 1", (*parameters, keys.DECLARED)
    if rows:
        return 0, decision.invalid(f"One of its keys cannot be deleted. {_IN_THE_FILE}")
    yield from kept_responses.delete_all(dialect, which, parameters)
    yield f"DELETE FROM ledger_secrets WHERE key_id IN ({which})", parameters
    rows = yield f"DELETE FROM ledger_keys WHERE id IN ({which}) RETURNING id", parameters
    return len(rows), None


def shown_of(column: str, value: str, limit: int, now: int) -> Steps:
    """Returns the newest keys with a team or of a user, as `/key/list` shows them, as a part of another decision."""
    rows = yield (
        f"{_SHOWN} WHERE k.{column} = ? AND k.{column} <> '' ORDER BY k.created DESC, k.id LIMIT ?",
        (value, limit),
    )
    return [_shown(row, now) for row in rows]


def _change(key_id: str, values: Mapping[str, Any], now: int) -> Steps:
    values = {**values, "updated": now}
    sql = f"UPDATE ledger_keys SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?"
    yield sql, (*values.values(), key_id)


def _with_secret(key_id: str, text: str, now: int) -> Steps:
    fields = (yield from _show_one(key_id, now))["body"]
    return {"ok": True, "body": {"key": text, "token_id": fields["token"], **fields}}


def _show_one(key_id: str, now: int) -> Steps:
    rows = yield f"{_SHOWN} WHERE k.id = ?", (key_id,)
    return {"ok": True, "body": _shown(rows[0], now)}


def _shown(row: Row, now: int) -> dict[str, Any]:
    end = keys.COLUMN_COUNT
    token, duration, *counters = row[end:]
    account = Account(counters) if counters[0] is not None else None
    return keys.shown(keys.key(row[:end]), token, account, duration, now)
