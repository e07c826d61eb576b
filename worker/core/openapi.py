"""`/openapi.json`: the OpenAPI 3.1 description of this API, identical at the edge and in the proxy.

The paths come from `api.endpoints.ALL`, the schemas from openapi_schemas.py.
Source: https://spec.openapis.org/oas/v3.1.1.html
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from .api.endpoints import ALL, GOOGLE, RESPONSE, Endpoint
from .openapi_schemas import (
    BUDGET,
    COUNTS,
    FLAG,
    MOMENT,
    NOTHING_ELSE,
    OBJECT,
    OWNERS,
    TEXT,
    Schema,
    an_object,
    array,
    nullable,
    ref,
    schemas,
)
from .openapi_schemas import SCHEMAS as GOOGLES_SCHEMAS
from .values.fields import MAX_TAG, printable_schema

# The parts about teams, users, end users, tags and budgets.

_WHOLE: Schema = {"type": "integer"}
# The names of the schemas, of the list in a page, of the id's field and of the paths, by the kind of owner.
_OWNER_KINDS = {
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


def _by_path(kind: str, _owner_schemas: Mapping[str, str]) -> dict[str, str]:
    """Returns schemas by endpoint, for each path of this kind. `{}` stands for the kind's own."""
    name, _, _, paths = _OWNER_KINDS[kind]
    return {f"{path}_{action}": schema.format(name) for path in paths for action, schema in _owner_schemas.items()}


_OWNER_ANSWERS = {
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
_OWNER_REQUESTS = {
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
_OWNER_BODY_OPTIONAL = ("team_new", "user_new", "budget_new")


def _owner_queries(page: Schema, size: Schema) -> dict[str, dict[str, Schema]]:
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


def _owner_schemas() -> dict[str, Schema]:
    """Returns the schemas of components."""
    found: dict[str, Schema] = {}
    for kind, (name, words, id, _) in _OWNER_KINDS.items():
        sent, shown = OWNERS[kind].sent, OWNERS[kind].shown
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
    return found | _others() | _budgets()


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


def _budgets() -> dict[str, Schema]:
    row = {"budget_id": TEXT, **BUDGET.shown}
    setting = {"field_name": TEXT, "field_type": TEXT, "field_description": TEXT, "field_value": {}}
    return {
        **_requests("Budget", "budget_id", _ID, BUDGET.sent, optional=True),
        "BudgetDelete": an_object({"id": _ID}, ["id"], additionalProperties=NOTHING_ELSE),
        "BudgetsNamed": _named("budgets"),
        "Budget": an_object(row, row),
        "Budgets": array(ref("Budget")),
        "BudgetPage": _page("budgets", "Budget"),
        "BudgetList": {"anyOf": [ref("Budgets"), ref("BudgetPage")]},
        "BudgetSettings": array(an_object(setting, setting)),
    }


# The whole description.

VERSION = "1"
_ERRORS = {
    400: "The request is invalid; `param` names the field.",
    401: "The API key is missing or invalid.",
    403: "The key is not allowed to do this.",
    404: "No such path, model or key.",
    405: "The method is not allowed; see `Allow`.",
    408: "The request body arrived too slowly.",
    409: "It exists already.",
    413: "The request body exceeds the limit.",
    415: "The request body is compressed.",
    429: "A rate limit, a budget, or too many failed keys; see `Retry-After`.",
    500: "An internal error, logged under the request's id.",
    502: "No provider responded.",
    503: "A required component is unavailable; see `Retry-After`.",
    504: "No response within the time limit.",
}
# The response schema of each endpoint. `_REQUESTS` has the request schemas of POST endpoints with a fixed body.
_ANSWERS = {
    "models": "Models",
    "model": "Model",
    "chat_completions": "Completion",
    "completions": "Completion",
    "embeddings": "Embeddings",
    "key_generate": "Key",
    "key_update": "Key",
    "key_block": "Key",
    "key_unblock": "Key",
    "key_regenerate": "Key",
    "key_delete": "KeysDeleted",
    "key_info": "KeyInfo",
    "key_list": "KeyList",
    **_OWNER_ANSWERS,
    "spend_logs": "SpendLogs",
    "spend_keys": "SpendKeys",
    "spend_activity": "SpendActivity",
    "global_spend": "GlobalSpend",
    "model_info": "ModelInfo",
    "session": "Session",
    "sign_out": "SignedOut",
    "session_revoke": "SessionsEnded",
    "google_models": "GoogleModels",
    "google_model": "GoogleModel",
    "generate_content": "GenerateContentResponse",
    "google_count_tokens": "CountTokensResponse",
    "embed_content": "EmbedContentResponse",
    "batch_embed_contents": "BatchEmbedContentsResponse",
}
_REQUESTS = {
    "chat_completions": "ChatRequest",
    "completions": "CompletionRequest",
    "embeddings": "EmbeddingRequest",
    "messages": "MessageRequest",
    "count_tokens": "CountRequest",
    "key_generate": "KeyGenerate",
    "key_update": "KeyUpdate",
    "key_block": "KeyNamed",
    "key_unblock": "KeyNamed",
    "key_regenerate": "KeyRegenerate",
    "key_delete": "KeyDelete",
    "session_revoke": "SessionsRevoke",
    **_OWNER_REQUESTS,
    "generate_content": "GenerateContentRequest",
    "stream_generate_content": "GenerateContentRequest",
    "google_count_tokens": "GenerateContentRequest",
    "embed_content": "EmbedContentRequest",
    "batch_embed_contents": "BatchEmbedContentsRequest",
}
_REQUIRED = ("key", "team_id", "user_id", "end_user_id", "budget_id")
_REDIRECTS = ("sign_in", "sign_in_callback")
_FORMS = ("image_edit", "image_variation", "transcription", "translation")
# The prefix of errors in Google's format.
_GOOGLES = "Google"
_STREAMED = ("chat_completions", "completions", "messages")
_BODY_OPTIONAL = ("key_generate", "key_regenerate", *_OWNER_BODY_OPTIONAL)


def _number(most: int) -> Schema:
    """An empty parameter counts as absent."""
    return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": most}, {"const": ""}]}


_PAGE, _SIZE = _number(1_000_000), _number(1000)
_FLAG: Schema = {"enum": ["true", "false", "1", "0", ""]}
_CURSOR: Schema = {"type": "string", "pattern": "^([0-9]{1,15}-[0-9a-f]{32})?$", "description": "The `next` of a page."}
_TIME: Schema = {"type": "string", "pattern": "^(20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|[0-9]{1,13})?$"}
_OWNERS: dict[str, Schema] = {"user_id": TEXT, "team_id": TEXT, "end_user": TEXT, "tag": TEXT}
_QUERIES: dict[str, dict[str, Schema]] = {
    "key_info": {"key": {"type": "string", "minLength": 1}},
    "key_list": {
        "page": _PAGE,
        "size": _number(500),
        "return_full_object": _FLAG,
        "user_id": TEXT,
        "team_id": TEXT,
        "key_alias": TEXT,
        "key_hash": TEXT,
        "status": {"enum": ["active", "expired", "revoked", ""]},
        "search": TEXT,
    },
    **_owner_queries(_PAGE, _number(500)),
    "spend_logs": {
        "key": TEXT,
        "model": TEXT,
        "status": {"type": "string", "pattern": "^(success|failure|[1-5][0-9]{2})?$"},
        "from": _TIME,
        "to": _TIME,
        "size": _SIZE,
        "after": _CURSOR,
        "request_id": TEXT,
        **_OWNERS,
    },
    "spend_activity": {
        "from": _TIME,
        "to": _TIME,
        "bucket": {"enum": ["hour", "day", ""]},
        "group_by": {"enum": ["model", "key", "user", "team", "end_user", "tag", "provider", ""]},
        **_OWNERS,
    },
    "spend_keys": {"page": _PAGE, "size": _SIZE},
    "stream_generate_content": {
        "alt": {"type": "string", "description": "`sse`: server-sent events. With any other value, one JSON array."}
    },
}


@cache
def text() -> str:
    """Returns the document as JSON, built on first use."""
    return json.dumps(document())


def document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ALL:
        paths[endpoint.path] = {endpoint.methods[0].lower(): _operation(endpoint, endpoint.name)}
        if endpoint.name in GOOGLE:
            paths[endpoint.path]["servers"] = [{"url": "/"}]
    paths[RESPONSE.path]["delete"] = _operation(RESPONSE, "delete_response")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LiteLLM Router",
            "version": VERSION,
            "description": "One OpenAI-compatible endpoint in front of many providers. Every path also without `/v1`, "
            "except for `/v1beta`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/v1"}, {"url": "/"}],
        "security": [{"bearer": []}, {"xApiKey": []}, {"apiKey": []}, {"xGoogApiKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
                "xGoogApiKey": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
            },
            "responses": {
                f"{dialect}{status}": {"description": meaning, "content": _json(ref(f"{dialect}Error"))}
                for dialect in ("", _GOOGLES)
                for status, meaning in _ERRORS.items()
            },
            "schemas": schemas() | _owner_schemas() | GOOGLES_SCHEMAS,
        },
    }


def _operation(endpoint: Endpoint, name: str) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "OK", "content": _answer(endpoint)}}
    if endpoint.name in ("health", "readiness"):
        answers["503"] = {"description": "Not ready.", "content": _json(ref("Health"))}
    if endpoint.name in _REDIRECTS:
        answers = {"302": {"description": "To the identity provider, or to the dashboard."}}
    if endpoint.name in ("dashboard_file", *_REDIRECTS, "sign_out"):  # without sign-in there is nothing
        answers["404"] = {"$ref": "#/components/responses/404"}
    if endpoint.name == "sign_out":
        answers["403"] = {"$ref": "#/components/responses/403"}
    if not endpoint.public:
        dialect = _GOOGLES if endpoint.name in GOOGLE else ""
        answers.update({str(status): {"$ref": f"#/components/responses/{dialect}{status}"} for status in _ERRORS})
    operation: dict[str, Any] = {"operationId": name, "tags": [_tag(endpoint)], "responses": answers}
    if endpoint.public:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in ("id", "key", "file")
        if f"{{{name}}}" in endpoint.path
    ]
    for name, schema in _QUERIES.get(endpoint.name, {}).items():
        # Optional for a virtual key, which means itself or its team.
        required = endpoint.name.endswith(("_info", "_settings")) and name in _REQUIRED
        parameters.append({"name": name, "in": "query", "required": required, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.methods == ("POST",) and not endpoint.free:
        operation["requestBody"] = _body(endpoint)
    return operation


def _body(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.name in _FORMS:
        return {"required": True, "content": {"multipart/form-data": {"schema": ref("EngineForm")}}}
    schema = ref(_REQUESTS.get(endpoint.name, "EngineRequest"))
    return {"required": endpoint.name not in _BODY_OPTIONAL, "content": _json(schema)}


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.name in ("dashboard", "dashboard_file"):
        return {"text/html": {}} if endpoint.name == "dashboard" else {"*/*": {}}
    if endpoint.engine:
        return {"*/*": {}}  # LiteLLM's response: JSON, an event stream or audio
    if endpoint.name == "metrics":
        return {"text/plain": {"schema": {"type": "string"}}}
    default = "Health" if endpoint.public and endpoint.name != "openapi" else None
    if endpoint.name == "stream_generate_content":
        return _json({"type": "array", "items": ref("GenerateContentResponse")}) | {"text/event-stream": {}}
    name = _ANSWERS.get(endpoint.name, default)
    content = _json(ref(name) if name else {"type": "object"})
    if endpoint.name in _STREAMED:
        content["text/event-stream"] = {}
    return content


def _tag(endpoint: Endpoint) -> str:
    if endpoint.admin or endpoint.name in (
        "metrics",
        "session",
        "sign_out",
        *_REDIRECTS,
        "dashboard",
        "dashboard_file",
    ):
        return "administration"
    return "health" if endpoint.public else "models"


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
