"""Tables of the fields that the admin API's objects have: which columns they become, and how they are read.

`key_fields` and `owner_fields` are such tables. Columns and their migrations, validation, responses, the OpenAPI
description, command-line options and forms are generated from them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..values.field_kinds import FieldError, Kind

_BUDGETS = ("soft_budget", "max_budget")


class Form(NamedTuple):
    """The field's input in the dashboard's form. `blank`: placeholder; `hint`: text below the input. `choices`: values
    and labels; the first is preselected, and "" omits the field. `follows`: sent only together with that field. `more`:
    folded away at the end of the form."""

    label: str
    blank: str = ""
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    follows: str = ""
    wide: bool = False
    more: bool = False


class Field(NamedTuple):
    """A column of a table.

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


class FieldTable:
    """`columns`: all columns by name. `fields`: those that clients can set, by their request names as (column, field).
    `defaults`: the columns of a row with no fields set. `shown`: the fields of responses, as (name, index of the
    column, conversion to JSON).

    `names`: the request names of the columns that clients can set, if several kinds of rows share the table.
    """

    def __init__(self, row: type, names: Mapping[str, str] | None = None) -> None:
        hints = row.__annotations__.items()  # as in the source; typing's helpers would evaluate them again
        self.columns: dict[str, Field] = {name: hint.__metadata__[0] for name, hint in hints}
        if names is not None:
            self.columns = {
                column: field._replace(name=names.get(column, "")) for column, field in self.columns.items()
            }
        self.fields = {field.name: (column, field) for column, field in self.columns.items() if field.name}
        self.defaults: dict[str, Any] = {column: field.kind.default for column, field in self.fields.values()}
        self.shown: tuple[tuple[str, int, Callable[[Any], Any]], ...] = tuple(
            (name, index, field.kind.show)
            for index, field in enumerate(self.columns.values())
            if (name := field.shown or field.name)
        )

    def read(self, fields: Mapping[str, Any], own: tuple[str, ...], now: int) -> dict[str, Any]:
        """Converts the fields of a request to columns; null unsets a field. Raises FieldError.

        `own`: fields that the endpoint reads itself. Unknown fields are refused, because a limit that is silently not
        enforced is worse than none. LiteLLM's own clients send unsupported fields as null or empty; those are accepted.
        """
        result: dict[str, Any] = {}
        for name, value in fields.items():
            if name in own:
                continue
            known = self.fields.get(name)
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

    `stored`: the columns of an existing row, used where `values` has no change. A change that touches neither budget is
    not checked again.
    """
    if stored is not None:
        if values.keys().isdisjoint(_BUDGETS):
            return
        values = {**stored, **values}
    soft, most = (values.get(name) for name in _BUDGETS)
    if soft is not None and most is not None and soft > most:
        raise FieldError("soft_budget", "'soft_budget' has to be at most 'max_budget'.")
