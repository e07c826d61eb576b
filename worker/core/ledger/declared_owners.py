"""Budgets, teams, users, end users and tags declared in the config file. At each start the ledger is synchronized with
the file.

An entry is plain JSON, so that a catalog can contain it: {"section": one of SECTIONS, "fields": those of `/team/new`
and its like}. A row with the entry's id is taken over, with its counters. When its entry is removed, a team or a user
is blocked, as a key is; it can be unblocked over HTTP. An end user or a tag is removed with its limits, and so is a
budget that nobody uses.

The administration's modules are imported where something is declared: most Workers start without any entry.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import keys, owners
from .decision import Steps
from .field_table import check_budgets
from .owner_fields import BUDGETS, END_USER, OF_KIND, TAG, TEAM, USER, OwnerKind

# The settings that hold them, in the order in which they are synchronized: budgets before those who use them.
BUDGET_SECTION = "budgets"
_KINDS = {kind.words: kind for kind in (OF_KIND[name] for name in (USER, TEAM, END_USER, TAG))}
SECTIONS = (BUDGET_SECTION, *_KINDS)
_BLOCKED_WHEN_GONE = (TEAM, USER)


class DeclaredOwner(NamedTuple):
    """`columns`: those of its table that an operator can set, `blocked` only if the file sets it. `members`: of a
    team."""

    section: str
    id: str
    columns: Mapping[str, Any]
    members: tuple[tuple[str, str], ...] = ()


def id_field(section: str) -> str:
    return "budget_id" if section == BUDGET_SECTION else _KINDS[section].id


def names(section: str) -> tuple[str, ...]:
    """Returns the names of an entry's fields."""
    own = (id_field(section), *(("members_with_roles",) if section == "teams" else ()))
    return (*own, *(BUDGETS if section == BUDGET_SECTION else _KINDS[section].table).fields)


def parse(section: str, fields: Mapping[str, Any]) -> DeclaredOwner:
    """Parses an entry. Raises FieldError."""
    from . import budget_admin, team_members

    if section == BUDGET_SECTION:
        id = budget_admin.valid_id(fields.get("budget_id"), "budget_id")
        return DeclaredOwner(section, id, {**BUDGETS.defaults, **BUDGETS.read(fields, ("budget_id",), 0)})
    kind = _KINDS[section]
    own = (kind.id, "members_with_roles") if kind.name == TEAM else (kind.id,)
    wanted = kind.table.read(fields, own, 0)
    id = owners.valid_id(kind, fields.get(kind.id), kind.id)
    blocked = {"blocked": wanted["blocked"]} if "blocked" in wanted else {}
    columns = {**kind.table.defaults, **wanted}
    del columns["blocked"]
    check_budgets(columns)
    return DeclaredOwner(section, id, {**columns, **blocked}, team_members.declared(fields))


def resolve(entries: Iterable[Mapping[str, Any]]) -> list[DeclaredOwner]:
    """Returns the catalog's owners. Raises FieldError."""
    return [parse(entry["section"], entry["fields"]) for entry in entries]


def sync(declared: Iterable[DeclaredOwner], now: int) -> Steps:
    """Makes the ledger's declared rows match `declared`, as a part of another decision: {"made", "changed", "gone"}."""
    made = changed = 0
    held: set[str] = set()
    for one in sorted(declared, key=lambda one: SECTIONS.index(one.section)):
        if one.section == BUDGET_SECTION:
            new, differed = yield from _bring_budget(one, now)
            held.add(one.id)
        else:
            new, differed = yield from _bring(_KINDS[one.section], one, now)
            held.add(_KINDS[one.section].account(one.id))
        made += new
        changed += differed
    return {"made": made, "changed": changed, "gone": (yield from _remove_others(held, now))}


def _bring(kind: OwnerKind, one: DeclaredOwner, now: int) -> Steps:
    """Returns whether the row was made, and whether it was changed. An operator's block survives a restart."""
    from . import team_members

    columns = dict(one.columns)
    if kind.name == TEAM:
        columns["members"] = json.dumps([{"user_id": user_id, "role": role} for user_id, role in one.members])
        yield from team_members.make_users(((user_id, None) for user_id, _ in one.members), now)
    found, missing = yield from owners.find(kind, one.id, kind.id)
    if missing:
        yield from owners.insert(kind, one.id, columns, now, declared=keys.DECLARED)
        return True, False
    if found.declared == keys.NO_LONGER_DECLARED:
        columns.setdefault("blocked", 0)
    columns["declared"] = keys.DECLARED
    new = {name: value for name, value in columns.items() if getattr(found, name) != value}
    if new:
        yield from owners.change(found.account, new, now)
    return False, bool(new)


def _bring_budget(one: DeclaredOwner, now: int) -> Steps:
    from . import budget_admin

    found = yield from budget_admin.find(one.id)
    if found is None:
        yield from budget_admin.insert(one.id, one.columns, now, declared=keys.DECLARED)
        return True, False
    wanted = {**one.columns, "declared": keys.DECLARED}
    new = {name: value for name, value in wanted.items() if getattr(found, name) != value}
    if new:
        yield from budget_admin.change(one.id, new, now)
    return False, bool(new)


def _remove_others(held: set[str], now: int) -> Steps:
    rows = yield "SELECT account FROM ledger_owners WHERE declared = ?", (keys.DECLARED,)
    gone = sorted({row[0] for row in rows} - held)
    for account in gone:
        if account.partition(":")[0] in _BLOCKED_WHEN_GONE:
            yield from owners.change(account, {"declared": keys.NO_LONGER_DECLARED, "blocked": 1}, now)
        else:
            yield "DELETE FROM ledger_owners WHERE account = ?", (account,)
    rows = yield "SELECT id FROM ledger_budgets WHERE declared = ?", (keys.DECLARED,)
    unused = sorted({row[0] for row in rows} - held)
    for id in unused:
        from . import budget_admin

        if any((yield from budget_admin.users(id))):
            yield from budget_admin.change(id, {"declared": keys.NOT_DECLARED}, now)
        else:
            yield "DELETE FROM ledger_budgets WHERE id = ?", (id,)
    return len(gone) + len(unused)
