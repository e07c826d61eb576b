"""Keys as they are stored and shown by LiteLLM's admin API, and which models they may use."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..values.fields import MODEL_WORDS
from . import key_fields
from .accounts import LIMIT_COLUMNS, Account, counters
from .decision import Decision, Row, Steps
from .key_fields import Key

COLUMNS = ", ".join(f"k.{name}" for name in Key._fields)
COLUMN_COUNT = len(Key._fields)
# A key whose open limits come from its budget.
WITH_BUDGET = ", ".join(
    f"COALESCE(k.{name}, kb.{name})" if name in LIMIT_COLUMNS else f"k.{name}" for name in Key._fields
)
JOIN_BUDGET = "LEFT JOIN ledger_budgets kb ON kb.id = k.budget_id"
ALL_MODELS, TEAM_MODELS, NO_MODELS = MODEL_WORDS
# The values of `key_type` that may not call a model.
CALLS_NO_MODEL = ("management", "read_only")
# `declared`: created over HTTP; in the config file; removed from the config file and therefore blocked.
NOT_DECLARED, DECLARED, NO_LONGER_DECLARED = 0, 1, 2


_DECLARED = " UNION ALL ".join(
    f"SELECT 1 FROM {table} WHERE declared = {DECLARED}" for table in ("ledger_keys", "ledger_owners", "ledger_budgets")
)


def any_declared() -> Decision:
    """Returns whether the ledger has keys, owners or budgets that the config file declared."""
    return Decision(_any_declared())


def _any_declared() -> Steps:
    return bool((yield f"{_DECLARED} LIMIT 1", ()))


def key(row: Row) -> Key:
    return Key._make(row)


def allows(models: str, model: str) -> bool:
    """Whether a key with this JSON list may use the model. Names may contain `*`; an empty list allows all models."""
    return models == "[]" or _matcher(models).fullmatch(model) is not None


@lru_cache(maxsize=512)
def both_allow(first: str, second: str) -> str:
    """Returns a JSON list with the models that both of these lists allow. Of two names with `*` the narrower one is
    kept; if neither covers the other, what they have in common is not allowed."""
    if second == "[]" or first == second:
        return first
    if first == "[]" or ALL_MODELS in json.loads(first):
        return second
    if ALL_MODELS in json.loads(second):
        return first
    found = [name for name in json.loads(first) if allows(second, name)]
    found += [name for name in json.loads(second) if allows(first, name)]
    return json.dumps(list(dict.fromkeys(found)) or [NO_MODELS])


@lru_cache(maxsize=64)
def aliases(text: str) -> dict[str, str]:
    """Returns the models that a team's aliases stand for, from JSON. Nobody may change it."""
    return json.loads(text)


@lru_cache(maxsize=64)
def with_aliases(models: str, text: str) -> str:
    """Returns a JSON list of these models and the names of these aliases. As in LiteLLM, who belongs to a team may use
    its aliases whatever its models are. `text`: JSON, as in `aliases`."""
    return models if models == "[]" else json.dumps(list(dict.fromkeys((*json.loads(models), *aliases(text)))))


def of_a_key(listed: list[dict[str, Any]], models: str) -> list[dict[str, Any]]:
    """Filters the `data` of `/model/info` for a virtual key with this JSON list: its models that are on, without the
    operator's details."""
    return [{**one, "set": [], "health": None} for one in listed if one["on"] and allows(models, one["model_name"])]


@lru_cache(maxsize=512)
def _matcher(models: str) -> re.Pattern[str]:
    names = json.loads(models)
    if not names or ALL_MODELS in names:
        return re.compile(".*", re.DOTALL)
    return re.compile("|".join(map(_pattern, names)), re.DOTALL)


def _pattern(name: str) -> str:
    """Converts a name with `*` to a regular expression. The part after each `*` but the last is matched in an atomic
    group at its first occurrence: with several `*`, plain backtracking would take time exponential in their number."""
    first, *parts = (re.escape(part) for part in name.split("*"))
    if not parts:
        return first
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + ".*" + parts[-1]


def shown(key: Key, token: str, account: Account | None, duration: str | None, now: int) -> dict[str, Any]:
    """Returns a key as `/key/info` and `/key/list` show it. Money is in US dollars. `token`: its secret's hash.
    `duration`: of its budget's periods."""
    return {
        "token": token,
        **{name: show(key[index]) for name, index, show in key_fields.TABLE.shown},
        **counters(account, duration, now),
    }


def insert_columns(values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Returns the INSERT statement for a new key."""
    names = tuple(values)
    sql = f"INSERT INTO ledger_keys ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    return sql, tuple(values.values())
