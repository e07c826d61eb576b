"""A key as it is stored and as LiteLLM's admin API shows it, and which models it may use."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from . import periods
from .accounts import Account, Limits
from .decision import Row
from .money import usd

_NAMES = (
    "id alias user_id hint models metadata max_budget soft_budget budget_duration rpm_limit tpm_limit "
    "max_parallel_requests blocked expires created updated declared"
).split()
COLUMNS = ", ".join(f"k.{name}" for name in _NAMES)
COLUMN_COUNT = len(_NAMES)
# `declared`: made over HTTP; in the config file; in it no more, and blocked for that.
NOT_DECLARED, DECLARED, NO_LONGER_DECLARED = 0, 1, 2


class Key(NamedTuple):
    """A row of ledger_keys; `models` and `metadata` are JSON."""

    id: str
    alias: str | None
    user_id: str
    hint: str
    models: str
    metadata: str
    max_budget: int | None
    soft_budget: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    max_parallel_requests: int | None
    blocked: int
    expires: int | None
    created: int
    updated: int
    declared: int

    @property
    def limits(self) -> Limits:
        return Limits(
            self.max_budget,
            self.soft_budget,
            self.budget_duration,
            self.rpm_limit,
            self.tpm_limit,
            self.max_parallel_requests,
        )

    @property
    def name(self) -> str:
        """What people know the key by."""
        return self.alias or self.hint


def key(row: Row) -> Key:
    return Key._make(row)


def allows(models: str, model: str) -> bool:
    """Whether a key with this JSON list may use the model: by name, or by a pattern with `*`; an empty list is all."""
    return models == "[]" or _matcher(models).fullmatch(model) is not None


def of_a_key(listed: list[dict[str, Any]], models: str) -> list[dict[str, Any]]:
    """Of the `data` of `/model/info` what a virtual key with this JSON list sees: its models that are on, and nothing
    that only the operator needs."""
    return [{**one, "set": [], "health": None} for one in listed if one["on"] and allows(models, one["model_name"])]


@lru_cache(maxsize=512)
def _matcher(models: str) -> re.Pattern[str]:
    names = json.loads(models)
    if not names or "all-proxy-models" in names:
        return re.compile(".*", re.DOTALL)
    return re.compile("|".join(map(_pattern, names)), re.DOTALL)


def _pattern(name: str) -> str:
    """Each part between two `*` is taken where it is found first and never looked for again: with several `*`, plain
    backtracking would take a power of the length of the client's model name."""
    first, *parts = (re.escape(part) for part in name.split("*"))
    if not parts:
        return first
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + ".*" + parts[-1]


def shown(key: Key, token: str, account: Account | None, now: int) -> dict[str, Any]:
    """A key as `/key/info` and `/key/list` show it; money in US dollars. `token`: the hash of its current secret."""
    current = account is not None and periods.goes_on(account.start, key.budget_duration, now)
    end = periods.end(key.budget_duration, now)
    return {
        "token": token,
        "key_name": key.hint,
        "key_alias": key.alias,
        "user_id": key.user_id or None,
        "models": json.loads(key.models),
        "metadata": json.loads(key.metadata),
        "spend": usd(account.spent) if account and current else 0.0,
        "reserved": usd(account.reserved) if account and current else 0.0,
        "total_spend": usd(account.total) if account else 0.0,
        "max_budget": _usd(key.max_budget),
        "soft_budget": _usd(key.soft_budget),
        "budget_duration": key.budget_duration,
        "budget_reset_at": iso(end),
        "rpm_limit": key.rpm_limit,
        "tpm_limit": key.tpm_limit,
        "max_parallel_requests": key.max_parallel_requests,
        "blocked": bool(key.blocked),
        "declared": key.declared == DECLARED,
        "expires": iso(key.expires),
        "created_at": iso(key.created),
        "updated_at": iso(key.updated),
    }


def insert_columns(values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """The statement that writes a new key."""
    names = tuple(values)
    sql = f"INSERT INTO ledger_keys ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    return sql, tuple(values.values())


def iso(at: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usd(amount: int | None) -> float | None:
    return None if amount is None else usd(amount)
