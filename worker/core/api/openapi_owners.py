"""The parts of the OpenAPI description about teams, users, end users, tags and budgets."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from ..values.fields import MAX_TAG, printable_schema
from .openapi_schemas import (
    COUNTS,
    FLAG,
    MOMENT,
    NOTHING_ELSE,
    OBJECT,
    TEXT,
    Fields,
    Schema,
    an_object,
    array,
    nullable,
    ref,
)

_WHOLE: Schema = {"type": "integer"}
# The names of the schemas, of the list in a page, of the id's field and of the paths, by the kind of owner.
_KINDS = {
    "team": ("Team", "teams", "team_id", ("team",)),
    "user": ("User", "users", "user_id", ("user",)),
    "end_user": ("Customer", "customers", "user_id", ("customer", "end_user")),
    "tag": ("Tag", "tags", "name", ("tag",)),
}
_ID, _TAG = printable_schema(255), printable_schema(MAX_TAG)
_MOST_NAMED = 50
_ROLE: Schema = {"enum": ["user", "admin", None]}
_MEMBER = {"user_id": nullable(_ID), "user_email": nullable(_ID), "role": _ROLE}
_BY_ID_OR_EMAIL: Schema = {
    "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("user_id", "user_email")]
}
_USERS_FILTERS: dict[str, Schema] = {
    "role": {"enum": ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer", ""]},
    "user_email": TEXT,
    "team": TEXT,
}
_TEAMS_FILTERS = {"user_id": TEXT, "team_id": TEXT, "team_alias": TEXT}


class OwnerFields(Protocol):
    """The schemas of the fields of owners and budgets; see `ledger.field_schemas`."""

    @property
    def owners(self) -> Mapping[str, Fields]: ...

    @property
    def budget(self) -> Fields: ...


def _by_path(kind: str, schemas: Mapping[str, str]) -> dict[str, str]:
    """Returns schemas by endpoint, for each path of this kind. `{}` stands for the kind's own."""
    name, _, _, paths = _KINDS[kind]
    return {f"{path}_{action}": schema.format(name) for path in paths for action, schema in schemas.items()}


ANSWERS = {
    **_by_path("team", {
        "new": "{}", "update": "{}Changed", "block": "{}", "unblock": "{}", "info": "{}Info", "list": "{}List",
        "page": "{}Page", "delete": "{}sDeleted", "member_add": "{}", "member_delete": "{}", "member_update": "Member",
    }),
    **_by_path("user", {
        "new": "{}", "update": "{}Changed", "info": "{}Info", "list": "{}Page", "delete": "{}sDeleted",
    }),
    **_by_path("end_user", {
        "new": "{}", "update": "{}", "block": "{}sBlocked", "unblock": "{}sBlocked", "info": "{}", "list": "{}List",
        "delete": "{}sDeleted",
    }),
    **_by_path("tag", {"new": "{}Changed", "update": "{}Changed", "info": "{}sByName", "list": "{}List"}),
    "tag_delete": "Done",
    "budget_new": "Budget",
    "budget_update": "Budget",
    "budget_delete": "Budget",
    "budget_info": "Budgets",
    "budget_settings": "BudgetSettings",
    "budget_list": "BudgetList",
}  # fmt: skip
REQUESTS = {
    **_by_path("team", {
        "new": "{}New", "update": "{}Update", "block": "{}Named", "unblock": "{}Named", "delete": "{}sDelete",
        "member_add": "MemberAdd", "member_delete": "MemberDelete", "member_update": "MemberUpdate",
    }),
    **_by_path("user", {"new": "{}New", "update": "{}Update", "delete": "{}sDelete"}),
    **_by_path("end_user", {
        "new": "{}New", "update": "{}Update", "block": "{}sNamed", "unblock": "{}sNamed", "delete": "{}sNamed",
    }),
    **_by_path("tag", {"new": "{}New", "update": "{}Update", "delete": "{}Named", "info": "{}sNamed"}),
    "budget_new": "BudgetNew",
    "budget_update": "BudgetUpdate",
    "budget_delete": "BudgetDelete",
    "budget_info": "BudgetsNamed",
}  # fmt: skip
BODY_OPTIONAL = ("team_new", "user_new", "budget_new")


def queries(page: Schema, size: Schema) -> dict[str, dict[str, Schema]]:
    """Returns the query parameters by endpoint. `page`, `size`: the schemas of whole numbers."""
    paging = {"page": page, "page_size": size, "search": TEXT}
    sorting: Schema = {"enum": ["asc", "desc", ""]}
    sorted_by: Schema = {"enum": ["created_at", "updated_at", "max_budget", "spend", ""]}
    owners = {**paging, "sort_by": sorted_by, "sort_order": sorting}
    return {
        "team_info": {"team_id": _ID, "key_limit": size},
        "user_info": {"user_id": _ID, "key_limit": size},
        "customer_info": {"end_user_id": _ID},
        "end_user_info": {"end_user_id": _ID},
        "budget_settings": {"budget_id": _ID},
        "team_list": {**owners, **_TEAMS_FILTERS},
        "team_page": {**owners, **_TEAMS_FILTERS},
        "user_list": {**owners, **_USERS_FILTERS},
        "customer_list": owners,
        "end_user_list": owners,
        "tag_list": owners,
        "budget_list": paging,
    }


def schemas(fields: OwnerFields) -> dict[str, Schema]:
    """Returns the schemas of components."""
    found: dict[str, Schema] = {}
    for kind, (name, words, id, _) in _KINDS.items():
        sent, shown = fields.owners[kind].sent, fields.owners[kind].shown
        found |= _requests(name, id, _TAG if kind == "tag" else _ID, sent, optional=kind in ("team", "user"))
        row = {id: TEXT, **shown, **COUNTS, "budget_reset_at": MOMENT, "litellm_budget_table": nullable(ref("Budget"))}
        found[name] = an_object(row, row)
        found[f"{name}Changed"] = an_object({"tag" if kind == "tag" else "data": ref(name)})
        found[f"{name}Page"] = _page(words, name)
        found[f"{name}List"] = {"anyOf": [array(ref(name)), ref(f"{name}Page")]}
    found["TeamNew"]["properties"]["members_with_roles"] = nullable(array(_member()))
    found["UserNew"]["properties"] |= {
        "teams": nullable(array(_ID)),
        "team_id": nullable(_ID),
        "key_alias": nullable(_ID),
        "auto_create_key": nullable(FLAG),
    }
    by_email = found["UserUpdate"]["properties"]["user_email"]["anyOf"][0]
    found["UserUpdate"] |= {
        "required": [],
        "anyOf": [{"required": ["user_id"]}, {"required": ["user_email"], "properties": {"user_email": by_email}}],
    }
    return found | _others() | _budgets(fields.budget)


def _requests(name: str, id: str, its: Schema, sent: Mapping[str, Schema], *, optional: bool) -> dict[str, Schema]:
    """`its`: the schema of its id, which may be left out or be empty if `optional`."""
    new = {"anyOf": [its, {"enum": ["", None]}]} if optional else its

    def request(own: Mapping[str, Schema], required: Iterable[str]) -> Schema:
        return an_object({**own, **sent}, required, additionalProperties=NOTHING_ELSE)

    return {
        f"{name}New": request({id: new}, () if optional else (id,)),
        f"{name}Update": request({id: its}, (id,)),
        f"{name}Named": an_object({id: its}, (id,), additionalProperties=NOTHING_ELSE),
    }


def _member() -> Schema:
    return {**an_object(_MEMBER, additionalProperties=NOTHING_ELSE), **_BY_ID_OR_EMAIL}


def _page(words: str, name: str) -> Schema:
    numbers = dict.fromkeys(("total", "page", "page_size", "total_pages"), _WHOLE)
    return an_object({words: array(ref(name)), **numbers}, (words, *numbers))


def _named(field: str, its: Schema = _ID) -> Schema:
    return an_object({field: {**array(its, 1), "maxItems": _MOST_NAMED}}, (field,), additionalProperties=NOTHING_ELSE)


def _others() -> dict[str, Schema]:
    member = {"team_id": _ID, "user_id": nullable(_ID), "user_email": nullable(_ID)}
    its_keys = array(ref("Key"))
    return {
        "Done": an_object({"message": TEXT}, ["message"]),
        "TeamInfo": an_object(
            {"team_id": TEXT, "team_info": ref("Team"), "keys": its_keys, "team_memberships": array(OBJECT)},
            ["team_id", "team_info"],
        ),
        "UserInfo": an_object(
            {"user_id": TEXT, "user_info": ref("User"), "keys": its_keys, "teams": array(OBJECT)},
            ["user_id", "user_info", "keys", "teams"],
        ),
        "TagsByName": {"type": "object", "additionalProperties": ref("Tag")},
        "TeamsDelete": _named("team_ids"),
        "UsersDelete": _named("user_ids"),
        "CustomersNamed": _named("user_ids"),
        "TagsNamed": _named("names", _TAG),
        "TeamsDeleted": an_object({"deleted_teams": array(TEXT), "deleted_keys": _WHOLE}, ["deleted_teams"]),
        "UsersDeleted": an_object({"deleted_users": array(TEXT), "deleted_keys": _WHOLE}, ["deleted_users"]),
        "CustomersDeleted": an_object({"deleted_customers": _WHOLE, "message": TEXT}, ["deleted_customers"]),
        "CustomersBlocked": an_object({"blocked_users": array(ref("Customer"))}, ["blocked_users"]),
        "Member": an_object(
            {"team_id": TEXT, "user_id": TEXT, "user_email": {"type": ["string", "null"]}, "role": TEXT},
            ["team_id", "user_id", "role"],
        ),
        "MemberAdd": an_object(
            {"team_id": _ID, "member": {"anyOf": [_member(), array(_member(), 1)]}},
            ["team_id", "member"],
            additionalProperties=NOTHING_ELSE,
        ),
        "MemberDelete": {
            **an_object(member, ["team_id"], additionalProperties=NOTHING_ELSE), **_BY_ID_OR_EMAIL,
        },
        "MemberUpdate": {
            **an_object({**member, "role": {"enum": ["user", "admin"]}}, ["team_id", "role"],
                        additionalProperties=NOTHING_ELSE),
            **_BY_ID_OR_EMAIL,
        },
    }  # fmt: skip


def _budgets(budget: Fields) -> dict[str, Schema]:
    row = {"budget_id": TEXT, **budget.shown}
    setting = {"field_name": TEXT, "field_type": TEXT, "field_description": TEXT, "field_value": {}}
    return {
        **_requests("Budget", "budget_id", _ID, budget.sent, optional=True),
        "BudgetDelete": an_object({"id": _ID}, ["id"], additionalProperties=NOTHING_ELSE),
        "BudgetsNamed": _named("budgets"),
        "Budget": an_object(row, row),
        "Budgets": array(ref("Budget")),
        "BudgetPage": _page("budgets", "Budget"),
        "BudgetList": {"anyOf": [ref("Budgets"), ref("BudgetPage")]},
        "BudgetSettings": array(an_object(setting, setting)),
    }
