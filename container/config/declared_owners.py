"""Parses `general_settings.budgets`, `teams`, `users`, `customers` and `tags`: they stand in the config file with the
fields of `/team/new` and its like."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.core.ledger import declared, keys
from worker.core.ledger.declared import DeclaredOwner
from worker.core.ledger.key_fields import FieldError

from .document import Document, KeyPath
from .problems import did_you_mean
from .virtual_keys import VirtualKey


@dataclass(frozen=True, slots=True)
class ConfigOwner:
    """A budget, team, user, end user or tag in the config file. `section`: of general_settings. `fields`: as plain
    JSON. `held`: the declaration for the ledger."""

    section: str
    fields: Mapping[str, Any] = field(repr=False)
    held: DeclaredOwner = field(repr=False)


def parse(
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
