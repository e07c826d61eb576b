"""`/openapi.json`: the OpenAPI 3.1 description of this API, identical at the edge and in the proxy.

The paths come from `endpoints.ALL`, the schemas from openapi_schemas.py.
Source: https://spec.openapis.org/oas/v3.1.1.html
"""

import json
from functools import cache
from typing import Any, Protocol

from . import openapi_owners
from .endpoints import ALL, GOOGLE, RESPONSE, Endpoint
from .openapi_schemas import SCHEMAS as GOOGLES_SCHEMAS
from .openapi_schemas import TEXT, Fields, Schema, ref, schemas

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
    **openapi_owners.ANSWERS,
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
    **openapi_owners.REQUESTS,
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
_BODY_OPTIONAL = ("key_generate", "key_regenerate", *openapi_owners.BODY_OPTIONAL)


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
    **openapi_owners.queries(_PAGE, _number(500)),
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
    "stream_generate_content": {"alt": {"enum": ["sse", "json"], "description": "`sse`: server-sent events."}},
}


class FieldSchemas(openapi_owners.OwnerFields, Protocol):
    """`ledger.field_schemas.FIELD_SCHEMAS`, passed in because this package does not import the ledger."""

    @property
    def key(self) -> Fields: ...

    @property
    def duration(self) -> Schema: ...


@cache
def text(fields: FieldSchemas) -> str:
    """Returns the document as JSON, built on first use."""
    return json.dumps(document(fields))


def document(fields: FieldSchemas) -> dict[str, Any]:
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
            "schemas": schemas(fields.key, fields.duration) | openapi_owners.schemas(fields) | GOOGLES_SCHEMAS,
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
