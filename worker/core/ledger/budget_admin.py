"""The endpoints of budgets, compatible with LiteLLM's: limits with a name, which keys and owners take by `budget_id`.

Nothing is spent on a budget itself. A change applies to all who use it from the next request.
"""

from collections.abc import Mapping
from typing import Any

from ..values.fields import FieldError, check_budgets, is_printable, only
from . import decision, keys
from .decision import Decision, Dialect, Steps, containing, marks
from .owner_views import MAX_PAGE, MAX_UNPAGED, MOST_NAMED, paged
from .owners import BUDGETS, Budget

_LONGEST_ID = 255
_COLUMNS = ", ".join(f"b.{name}" for name in BUDGETS.columns)
_BY_ID = f"SELECT {_COLUMNS} FROM ledger_budgets b WHERE b.id = ?"
_IN_THE_FILE = "This budget stands in the config file (general_settings.budgets): change it there."
# How `/budget/settings` names the types of fields, by their `argument`.
_TYPES = {"number": "Float", "integer": "Integer", "text": "String"}


def new(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /budget/new`. Without a `budget_id`, it gets one."""
    return decision.change(dialect, body, _new(body, now))


def update(dialect: Dialect, body: Any, now: int) -> Decision:
    """`POST /budget/update`: `budget_id` and the limits to change; null unsets a limit."""
    return decision.change(dialect, body, _update(body, now))


def delete(dialect: Dialect, body: Any) -> Decision:
    """`POST /budget/delete`: `id`. A budget that is in use is not deleted, because that would lift limits."""
    return decision.change(dialect, body, _delete(body))


def info(body: Any) -> Decision:
    """`POST /budget/info`: those in `budgets`, without those that do not exist."""
    return Decision(_info(body))


def settings(id: str | None) -> Decision:
    """`GET /budget/settings`: the limits that a budget can have, with the values of this one."""
    return Decision(_settings(id))


def list_budgets(page: int | None, size: int, search: str | None) -> Decision:
    """`GET /budget/list`, newest first. `page` counts from 1; without it, the response is one array."""
    return Decision(_list(page, min(max(1, size), MAX_PAGE), search))


def insert(id: str, wanted: Mapping[str, Any], now: int, *, declared: int = 0) -> Steps:
    """Inserts a row, as a part of another decision. `wanted`: its columns."""
    row = {"id": id, **BUDGETS.defaults, **wanted, "created": now, "updated": now, "declared": declared}
    yield f"INSERT INTO ledger_budgets ({', '.join(row)}) VALUES ({marks(len(row))})", tuple(row.values())


def change(id: str, values: Mapping[str, Any], now: int) -> Steps:
    values = {**values, "updated": now}
    sql = f"UPDATE ledger_budgets SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?"
    yield sql, (*values.values(), id)


def find(id: str) -> Steps:
    """Returns a Budget, or None."""
    rows = yield _BY_ID, (id,)
    return Budget._make(rows[0]) if rows else None


def users(id: str) -> Steps:
    """Returns how many keys and how many owners take limits from a budget."""
    rows = yield (
        "SELECT (SELECT COUNT(*) FROM ledger_keys WHERE budget_id = ?), "
        "(SELECT COUNT(*) FROM ledger_owners WHERE budget_id = ?)",
        (id, id),
    )
    return rows[0][0], rows[0][1]


def valid_id(id: Any, param: str) -> str:
    if id is None:
        raise FieldError(param, f"'{param}' is missing.")
    if not is_printable(id, _LONGEST_ID):
        raise FieldError(param, f"'{param}' has to be a string of 1 to {_LONGEST_ID} printable characters.")
    return id


def _new(body: Mapping[str, Any], now: int) -> Steps:
    wanted = BUDGETS.read(body, ("budget_id",), now)
    given = body.get("budget_id")
    id = keys.new_id() if given in (None, "") else valid_id(given, "budget_id")
    if (yield from find(id)) is not None:
        return decision.invalid(f"The budget '{id}' exists already.", "budget_id", code="exists")
    yield from insert(id, wanted, now)
    return (yield from _one(id))


def _update(body: Mapping[str, Any], now: int) -> Steps:
    wanted = BUDGETS.read(body, ("budget_id",), now)
    found, refused = yield from _changeable(body.get("budget_id"), "budget_id")
    if refused:
        return refused
    check_budgets(wanted, found._asdict())
    yield from change(found.id, wanted, now)
    return (yield from _one(found.id))


def _delete(body: Mapping[str, Any]) -> Steps:
    only(body, ("id",))
    found, refused = yield from _changeable(body.get("id"), "id")
    if refused:
        return refused
    of_keys, of_owners = yield from users(found.id)
    if of_keys or of_owners:
        return decision.invalid(
            f"This budget limits {of_keys} keys and {of_owners} teams, users and others: take it from them first.", "id"
        )
    yield "DELETE FROM ledger_budgets WHERE id = ?", (found.id,)
    return {"ok": True, "body": _shown(found)}


def _info(body: Any) -> Steps:
    try:
        only(body, ("budgets",))
        ids = body.get("budgets")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_NAMED:
            raise FieldError("budgets", f"'budgets' has to be an array of 1 to {MOST_NAMED} ids.")
        names = tuple(valid_id(id, "budgets") for id in ids)
    except FieldError as error:
        return decision.invalid(error.message, error.param)
    rows = yield f"SELECT {_COLUMNS} FROM ledger_budgets b WHERE b.id IN ({marks(len(names))}) ORDER BY b.id", names
    return {"ok": True, "body": [_shown(Budget._make(row)) for row in rows]}


def _settings(id: str | None) -> Steps:
    if id is None:
        return decision.invalid("'budget_id' is missing.", "budget_id")
    rows = yield _BY_ID, (id,)
    if not rows:
        return decision.not_found(f"There is no budget '{id}'.", "budget_id")
    shown = _shown(Budget._make(rows[0]))
    return {
        "ok": True,
        "body": [
            {
                "field_name": name,
                "field_type": _TYPES[field.kind.argument],
                "field_description": field.meaning,
                "field_value": shown[name],
                "stored_in_db": True,
                "field_default_value": None,
            }
            for name, (_, field) in BUDGETS.fields.items()
        ],
    }


def _list(page: int | None, size: int, search: str | None) -> Steps:
    where, parameters = containing(("b.id",), search) if search is not None else ("1 = 1", [])
    counted = yield f"SELECT COUNT(*) FROM ledger_budgets b WHERE {where}", tuple(parameters)
    total = counted[0][0]
    if page is None and total > MAX_UNPAGED:
        return decision.invalid(f"There are more than {MAX_UNPAGED} budgets: ask for one 'page' of them.", "page")
    rows = yield (
        f"SELECT {_COLUMNS} FROM ledger_budgets b WHERE {where} ORDER BY b.created DESC, b.id LIMIT ? OFFSET ?",
        (*parameters, MAX_UNPAGED if page is None else size, 0 if page is None else (page - 1) * size),
    )
    shown = [_shown(Budget._make(row)) for row in rows]
    return {"ok": True, "body": shown if page is None else paged("budgets", shown, total, page, size)}


def _changeable(id: Any, param: str) -> Steps:
    """Returns (budget, None) or (None, refusal). Those in the config file are refused: the next start would undo the
    change. Raises FieldError."""
    found = yield from find(valid_id(id, param))
    if found is None:
        return None, decision.not_found(f"There is no budget '{id}'.", param)
    return (None, decision.invalid(_IN_THE_FILE, param)) if found.declared == keys.DECLARED else (found, None)


def _one(id: str) -> Steps:
    rows = yield _BY_ID, (id,)
    return {"ok": True, "body": _shown(Budget._make(rows[0]))}


def _shown(budget: Budget) -> dict[str, Any]:
    return {name: show(budget[index]) for name, index, show in BUDGETS.shown}
