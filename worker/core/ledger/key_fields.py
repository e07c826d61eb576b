"""The fields of a key, in one table.

These are generated from it: the columns of `ledger_keys` and their migrations (`schema`), the row type (`Key`),
validation for `/key/generate`, `/key/update`, `/key/{key}/regenerate` and keys in the config file (`columns`), the
responses of `/key/info` and `/key/list` (`keys.shown`), the OpenAPI description (`api.openapi_schemas`), the options of
`litellm-router keys create` and `update`, the dashboard's form, and the table in docs/keys.md. A new field is one line
in `Key`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from ..values import fields as kinds
from ..values.fields import Field, FieldError, FieldTable, Form, length
from . import secrets
from .accounts import Limits, limits_of

__all__ = ["DEFAULTS", "FIELDS", "NAMES", "FieldError", "Key"]

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
        kinds.OWNER, "user_id", "whose key it is; a user's budget holds for all of the user's keys", "--user ID",
        _USER)]
    team_id: Annotated[str, Field(
        kinds.OWNER, "team_id", "whose key it is, if it is a team's; the team's limits hold for all of its keys",
        "--team ID", _TEAM, since=7)]
    budget_id: Annotated[str, Field(
        kinds.OWNER, "budget_id", "a budget that supplies the limits that the key does not have itself",
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


TABLE = FieldTable(Key)
COLUMNS, FIELDS, DEFAULTS = TABLE.columns, TABLE.fields, TABLE.defaults
NAMES = tuple(FIELDS)
columns = TABLE.read


def chosen_secret(fields: Mapping[str, Any], name: str) -> str | None:
    """Returns the secret chosen by the caller. Raises FieldError."""
    value = fields.get(name)
    if value is None:
        return None
    if not secrets.is_acceptable(value):
        raise FieldError(name, f"'{name}' has to be 'sk-' and 5 to 253 printable characters.")
    return value


def grace(fields: Mapping[str, Any]) -> int:
    """Returns the milliseconds that the old secret stays valid after a regeneration. Raises FieldError."""
    value = fields.get("grace_period")
    if value in (None, "", "0", 0, "0s"):
        return 0
    return length("grace_period", value)


def duration(fields: Mapping[str, Any]) -> int | None:
    """Returns the key's lifetime in milliseconds, None for no expiry. Raises FieldError."""
    value = fields.get("duration")
    return None if value in (None, "-1") else length("duration", value)
