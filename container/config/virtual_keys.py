"""Parses `general_settings.virtual_keys`: keys declared in the config file, with the fields of `/key/generate`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.core.configuration import TOKEN_VARIABLE
from worker.core.ledger import declared
from worker.core.ledger.declared import Declared
from worker.core.ledger.key_fields import FieldError

from .document import REFERENCE, Document, KeyPath
from .problems import did_you_mean

# Placeholder for an unknown secret, so that the other fields can be validated.
_NO_SECRET = "sk-unknown"


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key declared in the config file.

    `variable` is the environment variable that contains the secret, or None if the file contains it. `fields` are all
    other fields, as plain JSON. `held` is the declaration for the ledger, or None if the variable is not set.
    """

    variable: str | None
    fields: Mapping[str, Any] = field(repr=False)
    held: Declared | None = field(repr=False)


def parse(
    document: Document, path: KeyPath, value: Any, environment: Mapping[str, str], models: tuple[str, ...]
) -> tuple[VirtualKey, ...]:
    """Parses the declared keys and reports problems to `document`. `models` lists every model name that clients may
    use.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        document.error(path, "has to be a list.", f"Begin each key with `- key: {REFERENCE}NAME`.")
        return ()
    found: list[VirtualKey] = []
    seen: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(value):
        one = _entry(document, (*path, index), entry, environment, models)
        if one is None:
            continue
        found.append(one)
        _report_repeated(document, (*path, index), one, seen, index)
    return tuple(found)


def _entry(
    document: Document, at: KeyPath, entry: Any, environment: Mapping[str, str], models: tuple[str, ...]
) -> VirtualKey | None:
    if not isinstance(entry, dict):
        document.error(at, "has to be a mapping.", f"Give it `key: {REFERENCE}NAME`, and its limits.")
        return None
    where = (*at, "key")
    written = entry.get("key")
    if not isinstance(written, str) or written in ("", REFERENCE):
        document.error(where, "is missing.", f"Write `key: {REFERENCE}NAME`, and set NAME to the secret.")
        return None
    variable = written[len(REFERENCE) :] if written.startswith(REFERENCE) else None
    text = written if variable is None else environment.get(variable, "").strip()
    fields = {name: value for name, value in entry.items() if name != "key"}
    try:
        json.dumps(fields, allow_nan=False)
        held = declared.parse(fields, text or _NO_SECRET)
    except FieldError as error:
        mend = ""
        if error.param == "key":
            mend = f"Change {variable}." if variable else "Make one with: echo sk-$(openssl rand -hex 32)"
        document.error((*at, error.param), error.message, mend or did_you_mean(error.param, declared.FIELDS))
        return None
    except (TypeError, ValueError):  # YAML dates and similar values
        document.error(at, "holds a value that is not a string, number, list or mapping.", "Put the value in quotes.")
        return None
    if variable is None:
        message, mend = "is a secret that stands in the file.", f"Write `key: {REFERENCE}NAME`, and set NAME to it."
        document.report("warning", where, message, mend)
    # with an edge in front, the edge's ledger knows the secret
    elif not text and not environment.get(TOKEN_VARIABLE, "").strip():
        message = f"{variable} is not set, so this key does not work; if the ledger already has it, it is blocked."
        document.report("warning", where, message, f"Set {variable}.")
    for name in json.loads(held.columns["models"]):
        if not _is_known(name, models):
            document.report("warning", (*at, "models"), f"'{name}' is not a model of this config.",
                            did_you_mean(name, models))  # fmt: skip
    return VirtualKey(variable, fields, held if text else None)


def _report_repeated(
    document: Document, at: KeyPath, one: VirtualKey, seen: dict[tuple[str, str], int], index: int
) -> None:
    alias, secret = one.fields.get("key_alias"), one.held.hash if one.held else ""
    for kind, name, shown in (
        ("key_alias", alias or "", f"'{alias}'"),
        ("key", one.variable or "", one.variable),
        ("key", secret, "this secret"),
    ):
        first = seen.setdefault((kind, name), index)
        if name and first != index:
            document.error((*at, kind), f"{shown} is that of virtual_keys[{first}], too.", "It has to be unique.")
            return


def _is_known(name: str, models: tuple[str, ...]) -> bool:
    """Whether the name matches a model. Patterns are always accepted, because they may be meant for future models."""
    if "*" in name or name in ("all-proxy-models", "all-team-models") or name in models:
        return True
    return any("*" in model and name.startswith(model.split("*", 1)[0]) for model in models)
