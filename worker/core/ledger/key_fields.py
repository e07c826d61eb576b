"""The fields of a key, in one table.

These are generated from it: the columns of `ledger_keys` and their migrations (`schema`), the row type (`Key`),
validation for `/key/generate`, `/key/update`, `/key/{key}/regenerate` and keys in the config file (`columns`), the
responses of `/key/info` and `/key/list` (`keys.shown`), the OpenAPI description (`api.openapi_schemas`), the options of
`litellm-router keys create` and `update`, the dashboard's form, and the table in docs/keys.md. A new field is one line
in `Key`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, get_type_hints

from ..values import field_kinds as kinds
from ..values.field_kinds import FieldError, Kind, length
from . import secrets
from .accounts import Limits

__all__ = ["DEFAULTS", "FIELDS", "NAMES", "FieldError", "Key"]

_BUDGETS = ("soft_budget", "max_budget")


class Form(NamedTuple):
    """The field's input in the dashboard's form. `blank`: placeholder; `hint`: text below the input. `choices`: values
    and labels; the first is preselected, and "" omits the field. `follows`: sent only together with that field."""

    label: str
    blank: str = ""
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    follows: str = ""
    wide: bool = False


class Field(NamedTuple):
    """A column of ledger_keys.

    `name`: the field's name in requests, "" if clients cannot set it. `meaning`: a short description for people.
    `option`: the command-line option and its placeholder. `shown`: the name in responses, "" if it equals `name`.
    `since`: the schema version that added the column.
    """

    kind: Kind
    name: str = ""
    meaning: str = ""
    option: str = ""
    form: Form | None = None
    shown: str = ""
    since: int = 1


_NAME = Form("Name", "bot", wide=True)
_MODELS = Form("Models", "all", "Names, separated by commas; * stands for anything", wide=True)
_BUDGET = Form("Budget in US dollars", "none")
_EACH = Form(
    "each",
    choices=(("1d", "day"), ("", "in total"), ("1h", "hour"), ("7d", "week"), ("30d", "month")),
    follows="max_budget",
)
_AT_ONCE = Form("Requests at once", "no limit")
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
        kinds.OWNER, "user_id", "whose key it is; a user's budget holds for all of the user's keys", "--user ID")]
    hint: Annotated[str, Field(kinds.HINT, shown="key_name")]
    models: Annotated[str, Field(
        kinds.MODELS, "models", "models it may use, `*` for anything; none means all", "--models A,B", _MODELS)]
    metadata: Annotated[str, Field(
        kinds.METADATA, "metadata", "anything, as a JSON object", "--metadata JSON")]
    tags: Annotated[str, Field(
        kinds.TAGS, "tags", "labels of its lines in the spend log", "--tags A,B", Form("Tags", wide=True), since=5)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars it may spend in a period", "--max-budget USD", _BUDGET)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars it may spend in a period before somebody is told", "--soft-budget USD")]
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
        "--keep-output-limit BOOL", since=6)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at")]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at")]
    declared: Annotated[int, Field(kinds.DECLARED, shown="declared", since=3)]

    @property
    def limits(self) -> Limits:
        return Limits(
            self.max_budget, self.soft_budget, self.budget_duration,
            self.rpm_limit, self.tpm_limit, self.max_parallel_requests,
        )

    @property
    def name(self) -> str:
        """The name to show for the key."""
        return self.alias or self.hint
# fmt: on


def _columns() -> dict[str, Field]:
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(Key, include_extras=True).items()}


# All columns of ledger_keys by name, and the client-settable fields by their request names as (column, field).
COLUMNS = _columns()
FIELDS = {field.name: (column, field) for column, field in COLUMNS.items() if field.name}
NAMES = tuple(FIELDS)
# The columns of a key with no fields set.
DEFAULTS: dict[str, Any] = {column: field.kind.default for column, field in FIELDS.values()}


def columns(fields: Mapping[str, Any], own: tuple[str, ...], now: int) -> dict[str, Any]:
    """Converts the fields of a request to columns of ledger_keys; null unsets a field. Raises FieldError.

    `own`: fields that the endpoint reads itself. Unknown fields are refused, because a limit that is silently not
    enforced is worse than none. LiteLLM's own clients send unsupported fields as null or empty; those are accepted.
    """
    result: dict[str, Any] = {}
    for name, value in fields.items():
        if name in own:
            continue
        known = FIELDS.get(name)
        if known is not None:
            column, field = known
            result[column] = field.kind.read(name, value, now)
        elif _says_something(value):
            raise FieldError(name, f"'{name}' is not a field that this gateway knows.")
    check_budgets(result)
    return result


def only(fields: Mapping[str, Any], own: tuple[str, ...]) -> None:
    """Raises FieldError for any field that is not the endpoint's own."""
    for name, value in fields.items():
        if name not in own and _says_something(value):
            raise FieldError(name, f"'{name}' is not a field of this path.")


def _says_something(value: Any) -> bool:
    return value is not False and (value == 0 or value not in (None, {}, [], ""))


def check_budgets(values: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> None:
    """Raises FieldError if the soft budget exceeds the budget, so that its alert would come too late.

    `stored`: the columns of an existing key, used where `values` has no change. A change that touches neither budget is
    not checked again.
    """
    if stored is not None:
        if values.keys().isdisjoint(_BUDGETS):
            return
        values = {**stored, **values}
    soft, most = (values.get(name) for name in _BUDGETS)
    if soft is not None and most is not None and soft > most:
        raise FieldError("soft_budget", "'soft_budget' has to be at most 'max_budget'.")


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
