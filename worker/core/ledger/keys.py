"""Keys: their fields, how LiteLLM's admin API shows them, which models they may use, and their secrets.

All fields stand in one table. These are generated from it: the columns of `ledger_keys` and their migrations
(`schema`), the row type (`Key`), validation for `/key/generate`, `/key/update`, `/key/{key}/regenerate` and keys in
the config file (`KEYS.read`), the responses of `/key/info` and `/key/list` (`shown`), the OpenAPI description
(`core.openapi_schemas`), the options of `litellm-router keys create` and `update`, the dashboard's form, and the table
in docs/keys.md. A new field is one line in `Key`.

A secret is generated once, shown once, and stored only as its SHA-256.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from ..values import fields as kinds
from ..values.fields import MODEL_WORDS, Field, FieldError, FieldTable, Form, length
from .accounts import LIMIT_COLUMNS, Account, Limits, counters, limits_of
from .decision import Decision, Row, Steps

_NAME = Form("Name", "bot", wide=True)
_MODELS = Form("Models", "all", "Names, separated by commas; * stands for anything", wide=True)
_BUDGET = Form("Budget in US dollars", "none")
_EACH = Form(
    "each",
    choices=(("1d", "day"), ("", "in total"), ("1h", "hour"), ("7d", "week"), ("30d", "month")),
    follows="max_budget",
)
_SOFT = Form("Alert at, in US dollars", "none", more=True)
_AT_ONCE = Form("Requests at once", "no limit")
_USER, _TEAM = Form("User", "nobody"), Form("Team", "none")
_BUDGET_ID = Form("Shared budget", "none", "Supplies the limits that are not set here", more=True)
_TYPE = Form(
    "What it is for",
    choices=(
        ("", "models, and reading about itself"), ("llm_api", "models only"), ("management", "managing keys"),
        ("read_only", "reading about itself"),
    ),
    more=True,
)  # fmt: skip
_KEEP = Form("Refuse a request rather than shorten its answer", wide=True, more=True)
_METADATA = Form("Metadata", "{}", "A JSON object", wide=True, more=True)
_VALID = Form(
    "Valid for",
    choices=(
        ("", "good"), ("1d", "a day"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "a year"),
    ),
)  # fmt: skip


# fmt: off
class Key(NamedTuple):
    """A row of ledger_keys. `models`, `metadata` and `tags` are JSON, money is in nano-dollars. `declared`: see
    `keys`."""

    id: Annotated[str, Field(kinds.ID)]
    alias: Annotated[str | None, Field(
        kinds.TEXT, "key_alias", "what people call the key; no other key has the same", "--alias NAME", _NAME)]
    user_id: Annotated[str, Field(
        kinds.OWNER_ID, "user_id", "whose key it is; a user's budget holds for all of the user's keys", "--user ID",
        _USER)]
    team_id: Annotated[str, Field(
        kinds.OWNER_ID, "team_id", "whose key it is, if it is a team's; the team's limits hold for all of its keys",
        "--team ID", _TEAM, since=7)]
    budget_id: Annotated[str, Field(
        kinds.OWNER_ID, "budget_id", "a budget that supplies the limits that the key does not have itself",
        "--budget ID", _BUDGET_ID, since=7)]
    key_type: Annotated[str, Field(
        kinds.choice("llm_api", "management", "read_only", none="default"), "key_type",
        "what it is for: `llm_api`, `management` or `read_only`; `default` means calling models and reading about "
        "itself", "--type TYPE", _TYPE, since=7)]
    hint: Annotated[str, Field(kinds.HINT, shown="key_name")]
    models: Annotated[str, Field(
        kinds.MODELS, "models", "models it may use, `*` for anything; none means all", "--models A,B", _MODELS)]
    metadata: Annotated[str, Field(
        kinds.METADATA, "metadata", "anything, as a JSON object", "--metadata JSON", _METADATA)]
    tags: Annotated[str, Field(
        kinds.TAGS, "tags", "labels of its lines in the spend log", "--tags A,B", Form("Tags", wide=True), since=5)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars it may spend in a period", "--max-budget USD", _BUDGET)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars it may spend in a period before somebody is told", "--soft-budget USD",
        _SOFT)]
    budget_duration: Annotated[str | None, Field(
        kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", "--budget-duration TIME", _EACH)]
    rpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "rpm_limit", "requests a minute", "--rpm N", Form("Requests a minute", "no limit"))]
    tpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "tpm_limit", "tokens a minute", "--tpm N", Form("Tokens a minute", "no limit"))]
    max_parallel_requests: Annotated[int | None, Field(
        kinds.COUNT, "max_parallel_requests", "requests at the same time", "--parallel N", _AT_ONCE)]
    blocked: Annotated[int, Field(
        kinds.FLAG, "blocked", "true refuses the key")]
    expires: Annotated[int | None, Field(
        kinds.EXPIRY, "duration", "how long it is valid from now, such as 30d", "--duration TIME", _VALID, "expires")]
    keep_output_limit: Annotated[int, Field(
        kinds.FLAG, "keep_output_limit", "true refuses a request that does not fit with its output limit as it is",
        "--keep-output-limit BOOL", _KEEP, since=6)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at")]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at")]
    declared: Annotated[int, Field(kinds.DECLARED, shown="declared", since=3)]

    @property
    def limits(self) -> Limits:
        return limits_of(self)

    @property
    def name(self) -> str:
        """The name to show for the key."""
        return self.alias or self.hint
# fmt: on


KEYS = FieldTable(Key)
FIELDS, DEFAULTS = KEYS.fields, KEYS.defaults
NAMES = tuple(FIELDS)
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
SECRET_PREFIX = "sk-"
_HASH = re.compile(r"[0-9a-f]{64}")
_CHOSEN = re.compile(r"sk-[\x21-\x7e]{5,253}")
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
        **{name: show(key[index]) for name, index, show in KEYS.shown},
        **counters(account, duration, now),
    }


def insert_columns(values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Returns the INSERT statement for a new key."""
    names = tuple(values)
    sql = f"INSERT INTO ledger_keys ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    return sql, tuple(values.values())


def chosen_secret(fields: Mapping[str, Any], name: str) -> str | None:
    """Returns the secret chosen by the caller. Raises FieldError."""
    value = fields.get(name)
    if value is None:
        return None
    if not is_acceptable(value):
        raise FieldError(name, f"'{name}' has to be 'sk-' and 5 to 253 printable characters.")
    return value


def grace_of(fields: Mapping[str, Any]) -> int:
    """Returns the milliseconds that the old secret stays valid after a regeneration. Raises FieldError."""
    value = fields.get("grace_period")
    if value in (None, "", "0", 0, "0s"):
        return 0
    return length("grace_period", value)


def lifetime_of(fields: Mapping[str, Any]) -> int | None:
    """Returns the key's lifetime in milliseconds, None for no expiry. Raises FieldError."""
    value = fields.get("duration")
    return None if value in (None, "-1") else length("duration", value)


def new_secret() -> str:
    """Returns `sk-` and 256 random bits."""
    return SECRET_PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def new_id() -> str:
    """Returns 128 random bits in hexadecimal, for keys and reservations."""
    return os.urandom(16).hex()


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def reference(key: str) -> str:
    """Returns the hash for a secret or a `token`, which is the hash itself."""
    return key if _HASH.fullmatch(key) else hash_secret(key)


def hint_of(secret: str) -> str:
    """Returns the part of a secret that may be shown later."""
    return f"{SECRET_PREFIX}...{secret[-4:]}"


def is_acceptable(secret: object) -> bool:
    """Whether a caller may choose this secret: `sk-` and 5 to 253 printable ASCII characters."""
    return isinstance(secret, str) and _CHOSEN.fullmatch(secret) is not None
