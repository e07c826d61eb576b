"""Parses the keys, budgets, teams, users, customers and tags that stand in the config file:
`general_settings.virtual_keys`, `budgets` and so on, with the fields of `/key/generate`, `/team/new` and its like.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.core.configuration import TOKEN_VARIABLE
from worker.core.ledger import declared, keys
from worker.core.ledger.declared import Declared, DeclaredOwner
from worker.core.values.fields import FieldError

from .document import REFERENCE, Document, KeyPath, did_you_mean

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


def parse_keys(
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
        one = _key_entry(document, (*path, index), entry, environment, models)
        if one is None:
            continue
        found.append(one)
        _report_repeated(document, (*path, index), one, seen, index)
    return tuple(found)


def _key_entry(
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


@dataclass(frozen=True, slots=True)
class ConfigOwner:
    """A budget, team, user, end user or tag in the config file. `section`: of general_settings. `fields`: as plain
    JSON. `held`: the declaration for the ledger."""

    section: str
    fields: Mapping[str, Any] = field(repr=False)
    held: DeclaredOwner = field(repr=False)


def parse_owners(
    document: Document, sections: Mapping[str, tuple[KeyPath, Any]], models: Sequence[str]
) -> tuple[ConfigOwner, ...]:
    """Parses the sections, by name, and reports problems to `document`. `models`: the names in the file."""
    found: list[ConfigOwner] = []
    where: list[KeyPath] = []
    for section in declared.SECTIONS:
        path, value = sections.get(section, ((), None))
        if value is None:
            continue
        if not isinstance(value, list):
            document.error(path, "has to be a list.", f"Begin each entry with `- {declared.id_field(section)}:`.")
            continue
        ids: dict[str, int] = {}
        for index, entry in enumerate(value):
            one = _entry(document, (*path, index), section, entry)
            if one is None:
                continue
            first = ids.setdefault(one.held.id, index)
            if first != index:
                at = (*path, index, declared.id_field(section))
                document.error(at, f"is that of {section}[{first}], too.", "It has to be unique.")
                continue
            found.append(one)
            where.append((*path, index))
    budgets = {one.held.id for one in found if one.section == declared.BUDGET_SECTION}
    for one, at in zip(found, where, strict=True):
        _known_budget(document, at, one.held.columns.get("budget_id"), budgets)
        for alias, model in json.loads(one.held.columns.get("model_aliases", "{}")).items():
            if not keys.allows(json.dumps(models), model):
                message = f"'{model}' is not a model of this config; the alias has no effect."
                document.report("warning", (*at, "model_aliases", alias), message, did_you_mean(model, models))
    _unique_emails(document, found, where)
    return tuple(found)


def check_keys(
    document: Document, path: KeyPath, found: tuple[VirtualKey, ...], owners: tuple[ConfigOwner, ...]
) -> None:
    """Reports keys in the file whose team or budget does not stand in it: its limits would not hold."""
    teams = {one.held.id for one in owners if one.section == "teams"}
    budgets = {one.held.id for one in owners if one.section == declared.BUDGET_SECTION}
    for index, key in enumerate(found):
        team = key.fields.get("team_id")
        if team and team not in teams:
            message = f"'{team}' is not a team of this file."
            document.error((*path, index, "team_id"), message, "Add it to `general_settings.teams`.")
        _known_budget(document, (*path, index), key.fields.get("budget_id"), budgets)


def _entry(document: Document, at: KeyPath, section: str, entry: Any) -> ConfigOwner | None:
    id = declared.id_field(section)
    if not isinstance(entry, dict):
        document.error(at, "has to be a mapping.", f"Give it `{id}`, and its limits.")
        return None
    try:
        json.dumps(entry, allow_nan=False)
        return ConfigOwner(section, entry, declared.parse_owner(section, entry))
    except FieldError as error:
        known = declared.owner_fields_of(section)
        document.error((*at, error.param), error.message, did_you_mean(error.param, known))
    except (TypeError, ValueError):  # YAML dates and similar values
        document.error(at, "holds a value that is not a string, number, list or mapping.", "Put the value in quotes.")
    return None


def _known_budget(document: Document, at: KeyPath, budget: Any, budgets: set[str]) -> None:
    if budget and budget not in budgets:
        message = f"'{budget}' is not a budget of this file."
        document.error((*at, "budget_id"), message, "Add it to `general_settings.budgets`.")


def _unique_emails(document: Document, found: list[ConfigOwner], where: list[KeyPath]) -> None:
    seen: dict[str, str] = {}
    for one, at in zip(found, where, strict=True):
        email = (one.held.columns.get("email") or "").lower()
        if email and seen.setdefault(email, one.held.id) != one.held.id:
            document.error((*at, "user_email"), f"is that of '{seen[email]}', too.", "It has to be unique.")
