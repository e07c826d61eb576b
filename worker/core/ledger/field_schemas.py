"""The OpenAPI schemas of the fields of keys, owners and budgets, generated from `keys` and `owners`."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..values import fields
from ..values.fields import Field, FieldTable, Schema
from . import keys
from .owners import BUDGETS, OF_KIND


@dataclass(eq=False, slots=True)
class Fields:
    """Properties by name: `sent` in requests, `shown` in responses."""

    sent: dict[str, Schema]
    shown: dict[str, Schema]


@dataclass(eq=False, slots=True)
class FieldSchemas:
    """`owners`: by the kind of owner. `duration`: a string such as 30d."""

    key: Fields
    owners: Mapping[str, Fields]
    budget: Fields
    duration: Schema


def _sent(field: Field) -> Schema:
    """The schema of a request field; null unsets it. `x-form` describes the dashboard's input."""
    meaning = f"{field.meaning[0].upper()}{field.meaning[1:]}."
    schema: Schema = {"anyOf": [field.kind.schema, {"type": "null"}], "description": meaning}
    if field.form:
        choices = [list(one) for one in field.form.choices]
        schema["x-form"] = {"input": field.kind.argument, **field.form._asdict(), "choices": choices}
    return schema


def _fields(table: FieldTable) -> Fields:
    return Fields(
        {name: _sent(field) for name, (_, field) in table.fields.items()},
        {shown: field.kind.shown for field in table.columns.values() if (shown := field.shown or field.name)},
    )


FIELD_SCHEMAS = FieldSchemas(
    _fields(keys.KEYS),
    {name: _fields(kind.table) for name, kind in OF_KIND.items()},
    _fields(BUDGETS),
    fields.DURATION,
)
