"""JSON schemas for the OpenAPI description: strict where the proxy validates, open where it passes fields through.

tests/openapi checks them against a running proxy.
Dialect: https://json-schema.org/draft/2020-12, as in OpenAPI 3.1.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .ledger.keys import KEYS
from .ledger.owners import BUDGETS, OF_KIND
from .values.fields import DURATION, Field, FieldTable, Schema

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
# LiteLLM's clients send -1 for "no limit".
LIMIT: Schema = {"anyOf": [COUNT, {"type": "number", "maximum": 0, "description": "No limit."}]}
USER: Schema = {"description": "A string. A number is converted to a string; any other value is dropped."}
OBJECT: Schema = {"type": "object"}
MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def an_object(properties: dict[str, Schema], required: Iterable[str] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _optional(**properties: Schema) -> dict[str, Schema]:
    """Makes the fields nullable. Null means the same as leaving the field out."""
    return {name: nullable(schema) for name, schema in properties.items()}


_TOKEN_IDS = array(WHOLE, 1)
_PROMPT: Schema = {"anyOf": [TEXT, array(TEXT, 1), _TOKEN_IDS, array(_TOKEN_IDS, 1)]}
_MODEL: Schema = {"type": "string", "minLength": 1, "examples": ["gpt-4o"]}
_GATEWAY = _optional(
    disable_fallbacks=FLAG,
    fallbacks=array(TEXT),
    num_retries={"type": "integer", "minimum": 0, "maximum": 10},
    timeout={"type": "number", "exclusiveMinimum": 0, "maximum": 86400},
)
_ANY_COMPLETION = {
    "model": _MODEL,
    **_optional(
        stream=FLAG,
        stream_options={},
        temperature=NUMBER,
        top_p=NUMBER,
        presence_penalty=NUMBER,
        frequency_penalty=NUMBER,
        n=COUNT,
        max_tokens=LIMIT,
        max_completion_tokens=LIMIT,
        seed=WHOLE,
        stop={"anyOf": [TEXT, array(TEXT)]},
        logit_bias=OBJECT,
        metadata=OBJECT,
        user=USER,
    ),
    **_GATEWAY,
}
# Without `stream`, its options are ignored.
_STREAM_OPTIONS: Schema = {
    "if": {"properties": {"stream": {"const": True}}, "required": ["stream"]},
    "then": {"properties": {"stream_options": {"type": ["object", "null"]}}},
}
_MESSAGE = an_object({"role": TEXT, "content": {"anyOf": [TEXT, array(OBJECT), {"type": "null"}]}}, ["role"])
# Anthropic's Messages API.
_MESSAGES_API = {
    "model": _MODEL,
    "messages": array(_MESSAGE, 1),
    "max_tokens": COUNT,
    **_optional(
        system={"anyOf": [TEXT, array(OBJECT)]},
        stream=FLAG,
        temperature=NUMBER,
        top_p=NUMBER,
        stop_sequences=array(TEXT),
        tools=array(OBJECT),
        tool_choice=OBJECT,
        thinking=OBJECT,
        metadata=OBJECT,
    ),
}
_USAGE = an_object({"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}})
# LiteLLM's own clients send unsupported fields as null or empty. Any other value is refused.
NOTHING_ELSE: Schema = {"enum": [None, {}, [], "", False]}
_NAMED: Schema = {"type": "string", "minLength": 1, "description": "The key's secret, or its token."}
_DELETED = ("keys", "key_aliases")
_GROUP: Schema = {"type": ["string", "null"], "description": "A model or a key's id; null: all others combined."}
_COUNTED = {
    name: NUMBER if name == "spend" else {"type": "integer"}
    for name in ("spend", "requests", "failures", "prompt_tokens", "completion_tokens")
}
COUNTS = {"spend": NUMBER, "reserved": NUMBER, "running_requests": {"type": "integer"}, "total_spend": NUMBER}

_AMOUNT: Schema = {"type": "integer", "minimum": 0}
_PERHAPS: Schema = {"type": ["string", "null"]}
_PERHAPS_WHOLE: Schema = {"type": ["integer", "null"]}
# A line of `ledger/spend.py`; tests/accounting compares the names.
_SPEND_LINE: dict[str, Schema] = {
    "request_id": TEXT,
    "state": {"enum": ["expired", "settled"], "description": "expired: never reported, so charged as reserved"},
    "startTime": MOMENT,
    "endTime": MOMENT,
    "key_id": {"type": "string", "description": "A key's id, `master` or `jwt`"},
    "key_alias": _PERHAPS,
    "user_id": _PERHAPS,
    "team_id": _PERHAPS,
    "end_user": _PERHAPS,
    "request_tags": array(TEXT),
    "endpoint": TEXT,
    "model": TEXT,
    "answered_by": {**_PERHAPS, "description": "The model that answered, which a fallback may be"},
    "deployment": _PERHAPS,
    "provider": _PERHAPS,
    "spend": NUMBER,
    "reserved": NUMBER,
    "prompt_tokens": _AMOUNT,
    "completion_tokens": _AMOUNT,
    "cached_tokens": _AMOUNT,
    "reasoning_tokens": _AMOUNT,
    "estimated": {"type": "boolean", "description": "The provider did not report the usage"},
    "status": {**_PERHAPS_WHOLE, "description": "null: the request was lost with its process"},
    "latency_ms": _PERHAPS_WHOLE,
    "attempts": array(
        an_object(
            {"model": TEXT, "deployment": TEXT, "error": TEXT, "status": _PERHAPS_WHOLE, "seconds": NUMBER},
            ["model", "deployment", "error", "seconds"],
        )
    ),
}


# The fields of keys, owners and budgets, from the tables in `ledger.keys` and `ledger.owners`.


class Fields(NamedTuple):
    """The schemas of fields, by name: `sent` in requests, `shown` in responses."""

    sent: dict[str, Schema]
    shown: dict[str, Schema]


def _sent(field: Field) -> Schema:
    """The schema of a request field; null unsets it. `x-form` describes the dashboard's input."""
    meaning = f"{field.meaning[0].upper()}{field.meaning[1:]}."
    schema: Schema = {"anyOf": [field.kind.schema, {"type": "null"}], "description": meaning}
    if field.form:
        choices = [list(one) for one in field.form.choices]
        schema["x-form"] = {"input": field.kind.argument, **field.form._asdict(), "choices": choices}
    return schema


def _fields(table: FieldTable) -> Fields:
    return Fields(
        {name: _sent(field) for name, (_, field) in table.fields.items()},
        {shown: field.kind.shown for field in table.columns.values() if (shown := field.shown or field.name)},
    )


_KEY, BUDGET = _fields(KEYS), _fields(BUDGETS)
# By the kind of owner.
OWNERS = {name: _fields(kind.table) for name, kind in OF_KIND.items()}


def schemas() -> dict[str, Schema]:
    """Returns the schemas of models, keys and spending."""

    def key_request(own: dict[str, Schema], required: Iterable[str] = ()) -> Schema:
        return an_object({**own, **_KEY.sent}, required, additionalProperties=NOTHING_ELSE)

    return {
        "Error": an_object(
            {
                "error": an_object(
                    {
                        "message": TEXT,
                        "type": TEXT,
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"]},
                    },
                    ["message", "type", "param", "code"],
                )
            },
            ["error"],
        ),
        "Health": an_object({"status": {"enum": ["healthy", "unhealthy"]}}, ["status"]),
        "Model": an_object(
            {"id": TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": TEXT},
            ["id", "object", "created", "owned_by"],
        ),
        "Models": an_object({"object": {"const": "list"}, "data": array(ref("Model"))}, ["object", "data"]),
        "ChatRequest": an_object(
            {
                **_ANY_COMPLETION,
                "messages": array(_MESSAGE, 1),
                **_optional(
                    tools=array(OBJECT),
                    functions=array(OBJECT),
                    tool_choice={"anyOf": [TEXT, OBJECT]},
                    parallel_tool_calls=FLAG,
                    response_format=OBJECT,
                    top_logprobs=WHOLE,
                ),
            },
            ["model", "messages"],
            **_STREAM_OPTIONS,
        ),
        "MessageRequest": an_object(_MESSAGES_API, ["model", "messages", "max_tokens"]),
        "CountRequest": an_object(_MESSAGES_API, ["model", "messages"]),
        "CompletionRequest": an_object(
            {**_ANY_COMPLETION, "prompt": _PROMPT, **_optional(best_of=COUNT)}, ["model", "prompt"], **_STREAM_OPTIONS
        ),
        "EmbeddingRequest": an_object(
            {
                "model": _MODEL,
                "input": _PROMPT,
                **_optional(dimensions=COUNT, n=COUNT, encoding_format=TEXT, user=USER),
                **_GATEWAY,
            },
            ["model", "input"],
        ),
        "Completion": an_object(
            {"object": TEXT, "model": TEXT, "choices": array(OBJECT), "usage": nullable(_USAGE)},
            ["object", "model", "choices"],
        ),
        "Embeddings": an_object(
            {"object": {"const": "list"}, "model": TEXT, "data": array(OBJECT), "usage": _USAGE}, ["object", "data"]
        ),
        "EngineRequest": an_object({"model": _MODEL}, ["model"], description="The fields that LiteLLM accepts here."),
        "EngineForm": an_object({"model": _MODEL}, ["model"], description="The fields that LiteLLM accepts here."),
        "KeyGenerate": key_request({"key": nullable(ref("Secret"))}),
        "KeyUpdate": key_request({"key": _NAMED}, ["key"]),
        "KeyRegenerate": key_request(
            {
                "new_key": nullable(ref("Secret")),
                "grace_period": nullable({"anyOf": [DURATION, {"enum": ["", "0"]}]}),
            }
        ),
        "KeyNamed": an_object({"key": _NAMED}, ["key"], additionalProperties=NOTHING_ELSE),
        "KeyDelete": an_object(
            {name: {**array(TEXT), "maxItems": 50} for name in _DELETED},
            additionalProperties=NOTHING_ELSE,
            anyOf=[{"required": [name], "properties": {name: {"minItems": 1}}} for name in _DELETED],
        ),
        "SessionsRevoke": an_object(
            {"user_id": {**TEXT, "minLength": 1}}, ["user_id"], additionalProperties=NOTHING_ELSE
        ),
        "SessionsEnded": an_object({"user_id": TEXT, "sessions_ended": {"type": "integer"}}, ["sessions_ended"]),
        "SignedOut": an_object(
            {"signed_out": {"const": True}, "continue_at": {"type": ["string", "null"]}}, ["signed_out", "continue_at"]
        ),
        "Session": an_object(
            {
                "sign_in": {"type": ["string", "null"]},
                "error": {"type": ["string", "null"]},
                "user": {"anyOf": [{"type": "null"}, ref("SignedInUser")]},
            },
            ["sign_in", "error", "user"],
        ),
        "SignedInUser": an_object(
            {
                "user_id": TEXT,
                "role": {"enum": ["operator", "team_admin", "member"]},
                "reads_only": {"type": "boolean"},
                "teams": array(an_object({"team_id": TEXT, "role": {"enum": ["admin", "user"]}}, ["team_id", "role"])),
                "expires_at": MOMENT,
            },
            ["user_id", "role", "reads_only", "teams", "expires_at"],
        ),
        "Secret": {"type": "string", "pattern": "^sk-[!-~]{5,253}$"},
        "Key": an_object(
            {"token": TEXT, **_KEY.shown, **COUNTS, "budget_reset_at": MOMENT},
            ["token", *_KEY.shown, *COUNTS, "budget_reset_at"],
        ),
        "KeyInfo": an_object({"key": TEXT, "info": ref("Key")}, ["key", "info"]),
        "KeyList": an_object(
            {"keys": array({"anyOf": [TEXT, ref("Key")]}), "total_count": {"type": "integer"}}, ["keys", "total_count"]
        ),
        "KeysDeleted": an_object({"deleted_keys": array(TEXT)}, ["deleted_keys"]),
        "SpendLogs": an_object(
            {"data": array(ref("SpendLine")), "next": {"type": ["string", "null"]}}, ["data", "next"]
        ),
        "SpendLine": an_object(_SPEND_LINE, _SPEND_LINE),
        "SpendKeys": an_object({"data": array(an_object({**COUNTS, "key_id": TEXT}, ["key_id", *COUNTS]))}, ["data"]),
        "SpendActivity": an_object(
            {
                "from": MOMENT,
                "to": MOMENT,
                "bucket": {"enum": ["hour", "day"]},
                "group_by": {"enum": ["model", "key", "user", "team", "end_user", "tag", "provider"]},
                "complete_from": MOMENT,
                "groups": array(an_object({"group": _GROUP, "name": TEXT, **_COUNTED}, ["group", "name", *_COUNTED])),
                "data": array(an_object({"start": MOMENT, "group": _GROUP, **_COUNTED}, ["start", "group", *_COUNTED])),
            },
            ["from", "to", "bucket", "group_by", "complete_from", "groups", "data"],
        ),
        "ModelInfo": an_object(
            {
                "container": {"enum": ["running", "sleeping", "unavailable"]},
                "data": array(
                    an_object(
                        {
                            "model_name": TEXT,
                            "litellm_params": OBJECT,
                            "model_info": OBJECT,
                            "on": FLAG,
                            "set": array(TEXT),
                            "health": {"type": ["object", "null"]},
                        },
                        ["model_name", "litellm_params", "model_info", "on", "set", "health"],
                    )
                ),
            },
            ["container", "data"],
        ),
        "GlobalSpend": an_object({**COUNTS, "budget_reset_at": MOMENT, "periods": array(OBJECT)}, COUNTS),
    }


_NOT_NEGATIVE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_NOTHING_ELSE = {"additionalProperties": False}
_CALLED = an_object({"models": array(ref("GoogleModel")), "nextPageToken": TEXT}, ["models"])


def _object(**properties: Schema) -> Schema:
    return an_object({name: nullable(schema) for name, schema in properties.items()})


_BLOB = _object(mimeType=TEXT, data=TEXT)
_PART = _object(
    text=TEXT,
    thought=FLAG,
    thoughtSignature=TEXT,
    inlineData=_BLOB,
    fileData=_object(mimeType=TEXT, fileUri=TEXT),
    functionCall=_object(id=TEXT, name=TEXT, args=OBJECT),
    functionResponse=_object(id=TEXT, name=TEXT, response=OBJECT, parts=array(_object(inlineData=_BLOB))),
)
_GENERATION = _object(
    temperature=NUMBER,
    topP=NUMBER,
    topK=NUMBER,
    seed=WHOLE,
    candidateCount=_NOT_NEGATIVE,
    maxOutputTokens=_NOT_NEGATIVE,
    stopSequences=array(TEXT),
    responseMimeType=TEXT,
    responseSchema=OBJECT,
    responseJsonSchema=OBJECT,
    thinkingConfig=_object(includeThoughts=FLAG, thinkingBudget=WHOLE, thinkingLevel=TEXT),
)
_FUNCTION = _object(name=TEXT, description=TEXT, parameters=OBJECT, parametersJsonSchema=OBJECT)
_CHAT: dict[str, Schema] = {
    "contents": array(ref("GoogleContent"), 1),
    "systemInstruction": nullable(ref("GoogleContent")),
    "tools": nullable(array(_object(functionDeclarations=array(_FUNCTION)))),
    "toolConfig": nullable(_object(functionCallingConfig=_object(mode=TEXT, allowedFunctionNames=array(TEXT)))),
    "generationConfig": nullable(_GENERATION),
    "safetySettings": nullable(array(OBJECT)),
    "labels": nullable(OBJECT),
    "serviceTier": nullable(TEXT),
}
_EMBEDDING: dict[str, Schema] = {
    "content": ref("GoogleContent"),
    "taskType": nullable(TEXT),
    "title": nullable(TEXT),
    "outputDimensionality": nullable(COUNT | {"minimum": 0}),
}
_STATUS = an_object({"code": {"type": "integer"}, "message": TEXT, "status": TEXT, "details": array(OBJECT)})

SCHEMAS: dict[str, Schema] = {
    "GoogleError": an_object({"error": {**_STATUS, "required": ["code", "message", "status"]}}, ["error"]),
    "GoogleModel": an_object({"name": TEXT, "supportedGenerationMethods": array(TEXT)}, ["name"]),
    "GoogleModels": _CALLED,
    "GoogleContent": _object(role=TEXT, parts=array(_PART)),
    "GenerateContentRequest": an_object(_CHAT, ["contents"], **_NOTHING_ELSE),
    "GenerateContentResponse": an_object(
        {"candidates": array(OBJECT), "usageMetadata": OBJECT, "modelVersion": TEXT, "responseId": TEXT}, ["candidates"]
    ),
    "CountTokensResponse": an_object({"totalTokens": {"type": "integer"}}, ["totalTokens"]),
    "EmbedContentRequest": an_object(_EMBEDDING, ["content"], **_NOTHING_ELSE),
    "EmbedContentResponse": an_object({"embedding": OBJECT}, ["embedding"]),
    "BatchEmbedContentsRequest": an_object(
        {"requests": array(an_object({**_EMBEDDING, "model": nullable(TEXT)}, ["content"], **_NOTHING_ELSE), 1)},
        ["requests"],
        **_NOTHING_ELSE,
    ),
    "BatchEmbedContentsResponse": an_object({"embeddings": array(OBJECT)}, ["embeddings"]),
}
