"""Implements `litellm-router teams`, `users`, `customers`, `tags` and `budgets`, from the tables of their fields."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from worker.core.ledger.owner_fields import BUDGETS, END_USER, OF_KIND, TAG, TEAM, USER
from worker.core.values.fields import Field

from .admin_client import AdminClient, AdminError, UsageError
from .admin_commands import about, table, usd

_PAGE = 500
_COLUMNS = ("spend", "max_budget", "budget_duration", "rpm_limit", "tpm_limit", "blocked")
_MONEY = ("spend", "max_budget")
Work = Callable[[AdminClient, argparse.Namespace], tuple[Any, str]]


class Noun(NamedTuple):
    """What a command administers. `id`: the field with its id. `fields`: its table. `path`: of its endpoints.
    `deletes`: the field of `/delete`, and whether it is a list. `alias`: the field with its name for people."""

    words: str
    word: str
    id: str
    fields: Mapping[str, tuple[str, Field]]
    path: str
    deletes: tuple[str, bool]
    alias: str = ""

    @property
    def options(self) -> dict[str, Field]:
        return {name: field for name, (_, field) in self.fields.items() if field.option}


def _noun(kind: str, path: str, deletes: tuple[str, bool], alias: str) -> Noun:
    of = OF_KIND[kind]
    return Noun(of.words, of.word, of.id, of.table.fields, path, deletes, alias)


NOUNS = (
    _noun(TEAM, "/team", ("team_ids", True), "team_alias"),
    _noun(USER, "/user", ("user_ids", True), "user_alias"),
    _noun(END_USER, "/customer", ("user_ids", True), "alias"),
    _noun(TAG, "/tag", ("name", False), "description"),
    Noun("budgets", "budget", "budget_id", BUDGETS.fields, "/budget", ("id", False)),
)


def list_all(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        found = list(_every(client, noun, given.search if "search" in given else None))
        if not found:
            return found, f"There are no {noun.words}. Create one with: litellm-router {noun.words} create ID"
        heads = (noun.id, *((noun.alias,) if noun.alias else ()), *(name for name in _COLUMNS if name in found[0]))
        rows = [[usd(one[name]) if name in _MONEY else one[name] for name in heads] for one in found]
        return found, table([head.upper().replace("_", " ") for head in heads], rows)

    return work


def create(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = {noun.id: given.id, **_given(noun, given)}
        if noun.path == "/user":
            fields["auto_create_key"] = False  # `keys create --user` makes one
        made = _row(client.post(f"{noun.path}/new", fields))
        return made, about(made)

    return work


def update(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = _given(noun, given)
        both = next((name for name in given.unset if name in fields), None)
        if both:
            raise UsageError(f"{both} is both given and --unset")
        fields |= dict.fromkeys(given.unset)
        if not fields:
            raise UsageError("say what shall change")
        if noun.path == "/user":
            _info(client, noun, given.id)  # the endpoint would create it
        changed = _row(client.post(f"{noun.path}/update", {noun.id: given.id, **fields}))
        return changed, about(changed)

    return work


def info(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        found = _info(client, noun, given.id)
        return found, about(found)

    return work


def delete(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        field, many = noun.deletes
        found = client.post(f"{noun.path}/delete", {field: [given.id] if many else given.id})
        count = found.get("deleted_keys", 0)
        with_keys = f", and {count} {'key' if count == 1 else 'keys'}" if count else ""
        return found, f"The {noun.word} {given.id} was deleted{with_keys}."

    return work


def block(noun: Noun, action: str) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = {"user_ids": [given.id]} if noun.path == "/customer" else {noun.id: given.id}
        found = client.post(f"{noun.path}/{action}", fields)
        return found, f"The {noun.word} {given.id} is {action}ed."

    return work


def member(action: str) -> Work:
    """Adds a member to a team, or removes one."""

    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        named = {"user_id": given.user}
        if action == "add":
            fields: dict[str, Any] = {"member": {**named, "role": given.role}}
        else:
            fields = named
        found = client.post(f"/team/member_{action}", {"team_id": given.id, **fields})
        members = ", ".join(f"{one['user_id']} ({one['role']})" for one in found["members_with_roles"])
        return found, f"Members of {given.id}: {members or 'nobody'}"

    return work


def _every(client: AdminClient, noun: Noun, search: str | None) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        found = client.get(f"{noun.path}/list", {"page": page, "page_size": _PAGE, "search": search})
        yield from found[noun.words]
        if page >= found["total_pages"]:
            return
        page += 1


def _info(client: AdminClient, noun: Noun, id: str) -> dict[str, Any]:
    if noun.path == "/tag":
        return client.post("/tag/info", {"names": [id]})[id]
    if noun.path == "/budget":
        found = client.post("/budget/info", {"budgets": [id]})
        if not found:
            raise AdminError(f"there is no budget {id!r}; `litellm-router budgets list` shows all")
        return found[0]
    found = client.get(f"{noun.path}/info", {"end_user_id" if noun.path == "/customer" else noun.id: id})
    return found.get("team_info") or found.get("user_info") or found


def _row(body: dict[str, Any]) -> dict[str, Any]:
    """The row in a response to a change."""
    return body.get("data") or body.get("tag") or body


def _given(noun: Noun, given: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in noun.options}
    return {name: value for name, value in values.items() if value is not None}
