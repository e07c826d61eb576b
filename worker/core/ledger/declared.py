"""Keys, budgets, teams, users, end users and tags declared in the config file. At each start the ledger is synchronized
with the file.

An entry is plain JSON, so that a catalog can contain it. A key's is {"variable": the environment variable with the
secret, "fields": the other fields, as for `/key/generate`}. It matches the existing key with its alias. Otherwise it
matches the key with its secret, unless another entry has that key's alias. A key therefore keeps its counters when its
secret or its alias changes. A key is blocked when its entry or its variable is removed, and unblocked when it returns.

Any other entry is {"section": one of SECTIONS, "fields": those of `/team/new` and its like}. A row with the entry's id
is taken over, with its counters. When its entry is removed, a team or a user is blocked, as a key is; it can be
unblocked over HTTP. An end user or a tag is removed with its limits, and so is a budget that nobody uses.

The administration's modules are imported only for such entries: most configurations have none.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..values import periods
from ..values.fields import FieldError, check_budgets
from . import keys, owners
from .accounts import key_account, open_account, user_account
from .decision import Decision, Dialect, Steps
from .keys import Key
from .owners import BUDGETS, END_USER, OF_KIND, TAG, TEAM, USER, OwnerKind

# Read by `parse`, not by `KEYS`. `key` is the secret.
_OWN = ("key", "duration", "grace_period")
FIELDS = (*_OWN, *keys.NAMES)


class Declared(NamedTuple):
    """`hash`, `hint`: of the secret. `columns`: the columns of ledger_keys that an operator can set, `blocked` only if
    the file sets it. `duration`: the lifetime in milliseconds, counted from the key's creation; None for no expiry.
    `grace`: milliseconds that the previous secret stays valid."""

    hash: str
    hint: str
    columns: Mapping[str, Any]
    duration: int | None
    grace: int

    @property
    def alias(self) -> str | None:
        return self.columns["alias"]


class DeclaredOwner(NamedTuple):
    """`columns`: those of its table that an operator can set, `blocked` only if the file sets it. `members`: of a
    team."""

    section: str
    id: str
    columns: Mapping[str, Any]
    members: tuple[tuple[str, str], ...] = ()


AnyDeclared = Declared | DeclaredOwner


def parse(fields: Mapping[str, Any], text: str) -> Declared:
    """Parses an entry whose secret is `text`. Raises FieldError."""
    if keys.chosen_secret({"key": text}, "key") is None:
        raise FieldError("key", "'key' is missing.")
    wanted = keys.KEYS.read(fields, _OWN, 0)
    blocked = {"blocked": wanted["blocked"]} if "blocked" in wanted else {}
    columns = {**keys.DEFAULTS, **wanted}
    del columns["blocked"], columns["expires"]
    return Declared(
        keys.hash_secret(text),
        keys.hint_of(text),
        {**columns, **blocked},
        keys.lifetime_of(fields),
        keys.grace_of(fields),
    )


def resolve(entries: Iterable[Mapping[str, Any]], variable: Callable[[str], str | None]) -> list[Declared]:
    """Returns the catalog's keys whose variables are set. Raises FieldError, which never contains the secret."""
    found = ((entry["fields"], variable(entry["variable"])) for entry in entries)
    return [parse(fields, text) for fields, text in found if text]


def sync_declared(dialect: Dialect, declared: Iterable[AnyDeclared], now: int) -> Decision:
    """Makes the ledger's declared keys and owners match `declared`: {"ok": True, "made", "changed", "blocked": counts
    of keys, "owners": {"made", "changed", "gone"}}. `now`: milliseconds since 1970."""
    given = list(declared)
    owners = [one for one in given if isinstance(one, DeclaredOwner)]
    return Decision(_hold(dialect, [one for one in given if isinstance(one, Declared)], owners, now), transaction=True)


def _hold(dialect: Dialect, declared: list[Declared], owners: list[DeclaredOwner], now: int) -> Steps:
    for sql in dialect.lock:
        yield sql, ()
    of_owners = yield from _sync_owners(owners, now)
    aliases = {d.alias for d in declared if d.alias is not None}
    held: set[str] = set()
    made = changed = 0
    for one in declared:
        found = yield from _known_as(one, aliases)
        if found is None:
            key_id = yield from _make(one, now)
            made += 1
        else:
            key_id = found.id
            changed += yield from _bring(found, one, now)
        held.add(key_id)
    rows = yield "SELECT id FROM ledger_keys WHERE declared = ?", (keys.DECLARED,)
    gone = sorted({row[0] for row in rows} - held)
    for key_id in gone:
        sql = "UPDATE ledger_keys SET declared = ?, blocked = 1, updated = ? WHERE id = ?"
        yield sql, (keys.NO_LONGER_DECLARED, now, key_id)
    return {"ok": True, "made": made, "changed": changed, "blocked": len(gone), "owners": of_owners}


def _known_as(one: Declared, aliases: set[str]) -> Steps:
    """Returns the existing Key for an entry, or None."""
    if one.alias is not None:
        rows = yield f"SELECT {keys.COLUMNS} FROM ledger_keys k WHERE k.alias = ?", (one.alias,)
        if rows:
            return keys.key(rows[0])
    rows = yield (
        f"SELECT {keys.COLUMNS} FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id WHERE s.hash = ?",
        (one.hash,),
    )
    found = keys.key(rows[0]) if rows else None
    return None if found is None or found.alias in aliases else found


def _make(one: Declared, now: int) -> Steps:
    key_id = keys.new_id()
    columns = {**keys.DEFAULTS, **one.columns, "expires": _end(one, now)}
    yield keys.insert_columns(
        {"id": key_id, "hint": one.hint, **columns, "declared": keys.DECLARED, "created": now, "updated": now}
    )
    yield from _give_secret(key_id, one, now)
    yield open_account(key_account(key_id), periods.start(columns["budget_duration"], now))
    yield from _open_user(one)
    return key_id


def _bring(found: Key, one: Declared, now: int) -> Steps:
    """Updates the key to match the file and returns 1 if it differed. An operator's block survives a restart."""
    columns = {**one.columns, "hint": one.hint, "expires": _end(one, found.created), "declared": keys.DECLARED}
    if found.declared == keys.NO_LONGER_DECLARED:
        columns.setdefault("blocked", 0)
    new = {name: value for name, value in columns.items() if getattr(found, name) != value}
    rotated = yield from _give_secret(found.id, one, now)
    if not new and not rotated:
        return 0
    new["updated"] = now
    sql = f"UPDATE ledger_keys SET {', '.join(f'{name} = ?' for name in new)} WHERE id = ?"
    yield sql, (*new.values(), found.id)
    yield from _open_user(one)
    return 1


def _give_secret(key_id: str, one: Declared, now: int) -> Steps:
    """Makes the secret the key's current one, revoking it from any other key. Returns whether it changed."""
    rows = yield "SELECT key_id, expires FROM ledger_secrets WHERE hash = ?", (one.hash,)
    if rows and rows[0][0] == key_id and rows[0][1] is None:
        return False
    yield "DELETE FROM ledger_secrets WHERE hash = ? OR (key_id = ? AND expires <= ?)", (one.hash, key_id, now)
    if one.grace:
        sql = "UPDATE ledger_secrets SET expires = ? WHERE key_id = ? AND expires IS NULL"
        yield sql, (now + one.grace, key_id)
    else:
        yield "DELETE FROM ledger_secrets WHERE key_id = ?", (key_id,)
    yield "INSERT INTO ledger_secrets (hash, key_id) VALUES (?, ?)", (one.hash, key_id)
    return True


def _open_user(one: Declared) -> Steps:
    if one.columns["user_id"]:
        yield open_account(user_account(one.columns["user_id"]), 0)


def _end(one: Declared, made: int) -> int | None:
    return None if one.duration is None else made + one.duration


# The settings that hold them, in the order in which they are synchronized: budgets before those who use them.
BUDGET_SECTION = "budgets"
_KINDS = {kind.words: kind for kind in (OF_KIND[name] for name in (USER, TEAM, END_USER, TAG))}
SECTIONS = (BUDGET_SECTION, *_KINDS)
_BLOCKED_WHEN_GONE = (TEAM, USER)


def id_field(section: str) -> str:
    return "budget_id" if section == BUDGET_SECTION else _KINDS[section].id


def owner_fields_of(section: str) -> tuple[str, ...]:
    """Returns the names of an entry's fields."""
    own = (id_field(section), *(("members_with_roles",) if section == "teams" else ()))
    return (*own, *(BUDGETS if section == BUDGET_SECTION else _KINDS[section].table).fields)


def parse_owner(section: str, fields: Mapping[str, Any]) -> DeclaredOwner:
    """Parses an entry. Raises FieldError."""
    from . import budget_admin, owner_admin

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
    return DeclaredOwner(section, id, {**columns, **blocked}, owner_admin.declared_members(fields))


def resolve_owners(entries: Iterable[Mapping[str, Any]]) -> list[DeclaredOwner]:
    """Returns the catalog's owners. Raises FieldError."""
    return [parse_owner(entry["section"], entry["fields"]) for entry in entries]


def _sync_owners(declared: Iterable[DeclaredOwner], now: int) -> Steps:
    """Makes the ledger's declared rows match `declared`, as a part of another decision: {"made", "changed", "gone"}."""
    made = changed = 0
    held: set[str] = set()
    for one in sorted(declared, key=lambda one: SECTIONS.index(one.section)):
        if one.section == BUDGET_SECTION:
            new, differed = yield from _bring_budget(one, now)
            held.add(one.id)
        else:
            new, differed = yield from _bring_owner(_KINDS[one.section], one, now)
            held.add(_KINDS[one.section].account(one.id))
        made += new
        changed += differed
    return {"made": made, "changed": changed, "gone": (yield from _remove_others(held, now))}


def _bring_owner(kind: OwnerKind, one: DeclaredOwner, now: int) -> Steps:
    """Returns whether the row was made, and whether it was changed. An operator's block survives a restart."""
    from . import owner_admin

    columns = dict(one.columns)
    if kind.name == TEAM:
        columns["members"] = json.dumps([{"user_id": user_id, "role": role} for user_id, role in one.members])
        yield from owner_admin.make_users(((user_id, None) for user_id, _ in one.members), now)
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
