"""The OpenAPI schemas of a key's fields, generated from `key_fields`."""

from dataclasses import dataclass

from ..values import field_kinds
from ..values.field_kinds import Schema
from .field_table import Field
from .key_fields import COLUMNS, FIELDS


@dataclass(eq=False, slots=True)
class KeySchemas:
    """Properties by name: `sent` in requests, `shown` in responses. `duration`: a string such as 30d."""

    sent: dict[str, Schema]
    shown: dict[str, Schema]
    duration: Schema


def _sent(field: Field) -> Schema:
    """The schema of a request field; null unsets it. `x-form` describes the dashboard's input."""
    meaning = f"{field.meaning[0].upper()}{field.meaning[1:]}."
    schema: Schema = {"anyOf": [field.kind.schema, {"type": "null"}], "description": meaning}
    if field.form:
        choices = [list(one) for one in field.form.choices]
        schema["x-form"] = {"input": field.kind.argument, **field.form._asdict(), "choices": choices}
    return schema


KEY_SCHEMAS = KeySchemas(
    {name: _sent(field) for name, (_, field) in FIELDS.items()},
    {shown: field.kind.shown for field in COLUMNS.values() if (shown := field.shown or field.name)},
    field_kinds.DURATION,
)
