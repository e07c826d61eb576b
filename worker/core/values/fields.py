"""Tables of the fields that the admin API's objects have, and the kinds of values that the fields can have.

A `Kind` says how a value is validated, stored, shown and described, whatever the field. `ledger.keys` and
`ledger.owners` have tables that assign kinds to fields: columns and their migrations, validation, responses, the
OpenAPI description, command-line options and forms are generated from them.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import money, periods

Schema = dict[str, Any]

MAX_METADATA = 16 * 1024
# Keys are parsed wherever they are shown, and most JSON parsers are recursive.
MAX_DEPTH = 32
MAX_MODELS = 1000
# Models are sent in a header from the edge to its container.
MAX_MODELS_BYTES = 32 * 1024
# Aliases are sent in the same header, their names twice: as models, too.
MAX_ALIASES, MAX_ALIASES_BYTES = 1000, 8 * 1024
# LiteLLM's words in a list of models: all; those of the key's team; none.
MODEL_WORDS = ("all-proxy-models", "all-team-models", "no-default-models")
# Tags are stored in every line of the spend log.
MAX_TAGS, MAX_TAG = 20, 100
MAX_COUNT = (1 << 40) - 1
# One visible line: no control characters, no bidirectional marks, no look-alike spaces. Spelled out, because what is
# printable depends on the Unicode version, which differs between the Pythons of the edge and the container.
PRINTABLE = (
    r"[^\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    r"\ufeff\ufff9-\ufffb]+"
)
_PRINTABLE = re.compile(PRINTABLE)
_MAX_TEXT = 255

DURATION: Schema = {
    "type": "string",
    "pattern": "^([1-9][0-9]{0,5}[sm]|[1-9][0-9]{0,4}h|[1-9][0-9]{0,3}d|[1-9][0-9]{0,2}(w|mo)"
    "|hourly|daily|weekly|monthly)$",
    "examples": ["30s", "1h", "7d", "30d", "1mo"],
}
USD_SCHEMA: Schema = {"type": "number", "minimum": 0, "maximum": money.MAX_USD}
MOMENT_SCHEMA: Schema = {"type": ["string", "null"], "format": "date-time"}
_FLAG: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}


class FieldError(Exception):
    """An invalid field; `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


def _as_it_is(value: Any) -> Any:
    return value


def _not_settable(name: str, value: Any, now: int) -> Any:
    raise FieldError(name, f"'{name}' is not a field that can be set.")


class Kind(NamedTuple):
    """`sql`: the column's type. `default`: the column's value if the field is not set.

    `read`: converts the field's name, its JSON value and the current time to the column's value; raises FieldError.
    `show`: converts the column's value to JSON. `schema`: of the JSON value in requests, where null unsets it. `shown`:
    of the value in responses. `argument`: how text from the command line or a form is converted to JSON: "text",
    "list" (of strings, separated by commas), "number", "integer", "json", or "flag".
    """

    sql: str
    default: Any = None
    read: Callable[[str, Any, int], Any] = _not_settable
    show: Callable[[Any], Any] = _as_it_is
    schema: Schema = {}  # noqa: RUF012 nobody changes a schema
    shown: Schema = {}  # noqa: RUF012
    argument: str = "text"


def length(name: str, value: Any) -> int:
    """Parses a duration into milliseconds. Raises FieldError."""
    if not isinstance(value, str):
        raise FieldError(name, f"'{name}' has to be a duration such as 30s, 1h or 30d.")
    try:
        return periods.length(value)
    except ValueError as error:
        raise FieldError(name, f"'{name}': {error}.") from None


def is_printable(value: Any, longest: int) -> bool:
    """Whether the value is one visible line of 1 to `longest` characters."""
    return isinstance(value, str) and len(value) <= longest and _PRINTABLE.fullmatch(value) is not None


def printable_schema(longest: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": f"^{PRINTABLE}$"}


def _text(name: str, value: Any, now: int) -> str | None:
    if value is None:
        return None
    if not is_printable(value, _MAX_TEXT):
        raise FieldError(name, f"'{name}' has to be a string of 1 to {_MAX_TEXT} printable characters.")
    return value


def _owner(name: str, value: Any, now: int) -> str:
    return _text(name, value, now) or ""


def _models(name: str, value: Any, now: int) -> str:
    names = [] if value is None else value
    if not isinstance(names, list) or len(names) > MAX_MODELS or not all(isinstance(n, str) and n for n in names):
        raise FieldError(name, f"'{name}' has to be an array of model names; '*' matches anything.")
    text = json.dumps(names)
    if len(text) > MAX_MODELS_BYTES:
        raise FieldError(name, f"'{name}' exceeds {MAX_MODELS_BYTES // 1024} KB; use patterns with '*'.")
    return text


def _tags(name: str, value: Any, now: int) -> str:
    tags = [] if value is None else value
    if not isinstance(tags, list) or len(tags) > MAX_TAGS or not all(is_printable(tag, MAX_TAG) for tag in tags):
        raise FieldError(
            name, f"'{name}' has to be an array of at most {MAX_TAGS} strings of 1 to {MAX_TAG} printable characters."
        )
    return json.dumps(list(dict.fromkeys(tags)))


def _aliases(name: str, value: Any, now: int) -> str:
    """Nothing is both an alias and a pattern, or a word for several models: an alias counts as one of the models that
    may be used."""
    given = {} if value is None else value
    if not isinstance(given, dict) or len(given) > MAX_ALIASES:
        raise FieldError(name, f"'{name}' has to be a JSON object of at most {MAX_ALIASES} names and their models.")
    for alias, model in given.items():
        if not is_printable(alias, _MAX_TEXT) or "*" in alias:
            raise FieldError(
                name, f"An alias in '{name}' has to be 1 to {_MAX_TEXT} printable characters, and '*' is not allowed."
            )
        if alias in MODEL_WORDS:
            raise FieldError(name, f"'{alias}' in '{name}' cannot be an alias: it stands for several models.")
        if not is_printable(model, _MAX_TEXT) or "*" in model:
            raise FieldError(name, f"The alias '{alias}' in '{name}' has to name one model.")
    text = json.dumps(given)
    if len(text) > MAX_ALIASES_BYTES:
        raise FieldError(name, f"'{name}' exceeds {MAX_ALIASES_BYTES // 1024} KB.")
    return text


def _metadata(name: str, value: Any, now: int) -> str:
    text = json.dumps({} if value is None else value)
    if not isinstance(value, dict | None) or len(text) > MAX_METADATA:
        raise FieldError(name, f"'{name}' has to be a JSON object of at most {MAX_METADATA // 1024} KB.")
    if _depth(value) > MAX_DEPTH:
        raise FieldError(name, f"'{name}' is nested more than {MAX_DEPTH} levels deep.")
    return text


def _depth(value: Any) -> int:
    """Returns the levels of nested arrays and objects."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        one, level = stack.pop()
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        if inside is not None:
            deepest = max(deepest, level)
            stack += [(part, level + 1) for part in inside]
    return deepest


def _usd(name: str, value: Any, now: int) -> int | None:
    if value is None:
        return None
    if not money.is_amount(value):
        raise FieldError(name, f"'{name}' has to be US dollars from 0 to {money.MAX_USD}.")
    return money.nano(value)


def _show_usd(value: int | None) -> float | None:
    return None if value is None else money.usd(value)


def _count(name: str, value: Any, now: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise FieldError(name, f"'{name}' has to be a whole number, 0 or more.")
    return value


def _period(name: str, value: Any, now: int) -> str | None:
    if value is None:
        return None
    length(name, value)
    return value


def _expiry(name: str, value: Any, now: int) -> int | None:
    return None if value in (None, "-1") else now + length(name, value)


def _flag(name: str, value: Any, now: int) -> int:
    if not isinstance(value, bool | None):
        raise FieldError(name, f"'{name}' has to be true or false.")
    return int(bool(value))


def choice(*values: str, none: str = "") -> Kind:
    """The kind of a field that is one of `values`, or has no value, which is stored as ''. `none`: another word for no
    value in requests."""
    known = (*values, none) if none else values

    def read(name: str, value: Any, now: int) -> str:
        if value is not None and value not in known:
            raise FieldError(name, f"'{name}' has to be one of {', '.join(known)}.")
        return "" if value in (None, none) else value

    return Kind("TEXT NOT NULL", "", read, lambda value: value or None, {"enum": [*known]}, {"enum": [*values, None]})


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


TEXT = Kind("TEXT", None, _text, schema=printable_schema(_MAX_TEXT), shown=_nullable(_TEXT))
# Stored as '' if there is none, because statements join on it.
OWNER_ID = Kind("TEXT NOT NULL", "", _owner, lambda value: value or None, schema=TEXT.schema, shown=TEXT.shown)
MODELS = Kind(
    "TEXT NOT NULL",
    "[]",
    _models,
    json.loads,
    schema={"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MAX_MODELS},
    shown={"type": "array", "items": _TEXT},
    argument="list",
)
TAGS = Kind(
    "TEXT NOT NULL",
    "[]",
    _tags,
    json.loads,
    schema={"type": "array", "items": printable_schema(MAX_TAG), "maxItems": MAX_TAGS},
    shown={"type": "array", "items": _TEXT},
    argument="list",
)
METADATA = Kind(
    "TEXT NOT NULL",
    "{}",
    _metadata,
    json.loads,
    schema={"type": "object"},
    shown={"type": "object"},
    argument="json",
)
ALIASES = Kind(
    "TEXT NOT NULL",
    "{}",
    _aliases,
    json.loads,
    schema={
        "type": "object",
        "propertyNames": {
            **printable_schema(_MAX_TEXT),
            "not": {"anyOf": [{"pattern": r"\*"}, {"enum": [*MODEL_WORDS]}]},
        },
        "additionalProperties": {**printable_schema(_MAX_TEXT), "not": {"pattern": r"\*"}},
        "maxProperties": MAX_ALIASES,
    },
    shown={"type": "object", "additionalProperties": _TEXT},
    argument="json",
)
USD = Kind("BIGINT", None, _usd, _show_usd, schema=USD_SCHEMA, shown={"type": ["number", "null"]}, argument="number")
COUNT = Kind(
    "BIGINT",
    None,
    _count,
    schema={"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
    shown={"type": ["integer", "null"]},
    argument="integer",
)
PERIOD = Kind("TEXT", None, _period, schema=DURATION, shown=_nullable(_TEXT))
# Sent as a duration from now, stored and shown as the time it ends.
EXPIRY = Kind(
    "BIGINT",
    None,
    _expiry,
    periods.iso,
    schema={"anyOf": [DURATION, {"const": "-1"}]},
    shown=MOMENT_SCHEMA,
)
FLAG = Kind("BIGINT NOT NULL", 0, _flag, bool, schema=_FLAG, shown=_FLAG, argument="flag")
# Kinds of columns that only the gateway sets.
ID = Kind("TEXT PRIMARY KEY")
HINT = Kind("TEXT NOT NULL", shown=_TEXT)
MOMENT = Kind("BIGINT NOT NULL", show=periods.iso, shown=MOMENT_SCHEMA)
LIST = Kind("TEXT NOT NULL", "[]", show=json.loads, shown={"type": "array"})
# See `keys.DECLARED`.
DECLARED = Kind("BIGINT NOT NULL", 0, show=lambda value: value == 1, shown=_FLAG)


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
