"""Parses and validates requests of the APIs other than chat completions: Anthropic's Messages, Gemini's and OpenAI's
Responses.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from worker.core.api.errors import ApiError, invalid_request
from worker.core.pricing import generate_content as pricing
from worker.core.pricing.prices import GOOGLES_COUNT
from worker.core.values import claims

from ..config.deployment import OUTPUT_LIMITS, lowest_limit
from . import engine_body
from .authority import DEARER, forbidden, refusal, refuse_forbidden
from .completion import (
    CHECKS,
    LABELS,
    OWN_FIELDS,
    Completion,
    drop_labels,
    name_user,
    named_model,
    parse_object,
    routed,
)

# Anthropic's Messages API.

# Feature names in the `anthropic-beta` header. Clients may not use those that open the account's files and skills,
# change the identity, or cost more.
_BETA = re.compile(r"(?!files-api|skills|oauth|fast-mode)[a-z0-9.-]{1,64}")
_MOST_BETAS = 20
# A translation could use these as its output limit, and pricing could read them as the number of choices, although the
# deployment's preset is what is sent.
_FOREIGN = (OUTPUT_LIMITS - {"max_tokens"}) | {"n", "best_of"}


def parse_messages(endpoint: str, raw: bytes, betas: str) -> Completion:
    """`endpoint`: `messages` or `count_tokens`. `betas`: the client's header. Raises ApiError 400 that names the
    field."""
    body = parse_object(raw)
    claimed = claims.of_body(body)
    drop_labels(body)
    name_user(body)
    body.pop("stream_options", None)  # an OpenAI field; Anthropic's streams report usage anyway
    refuse_forbidden(body)
    if body.get("speed") == "standard":  # the default, at the normal price
        del body["speed"]
    for name in DEARER.intersection(body):
        raise refusal(name)
    for name in _FOREIGN.intersection(body):
        del body[name]
    model = named_model(body.get("model"))
    for name, value in body.items():
        if value is not None:
            _check(name, value)
    for name in ("messages",) if endpoint == "count_tokens" else ("messages", "max_tokens"):
        if body.get(name) is None:
            raise invalid_request(f"'{name}' is missing.", param=name)
    own = {name: body.pop(name, None) for name in OWN_FIELDS}
    # LiteLLM's proxy would trust the rest of the metadata.
    metadata = body.pop("metadata", None)
    if metadata and isinstance(metadata.get("user_id"), str):
        body["metadata"] = {"user_id": metadata["user_id"]}
    stream = endpoint == "messages" and bool(body.get("stream"))
    route = routed(model, len(raw), own, stream=stream)
    return Completion(endpoint, body, model, stream, False, route, own["timeout"], betas=_known(betas), claims=claimed)


def _check(name: str, value: Any) -> None:
    wanted = None
    if name == "system":
        blocks = isinstance(value, list) and all(isinstance(b, dict) for b in value)
        wanted = None if isinstance(value, str) or blocks else "a string or an array of text blocks"
    elif name == "stop_sequences":
        texts = isinstance(value, list) and all(isinstance(t, str) for t in value)
        wanted = None if texts else "an array of strings"
    elif name in ("tool_choice", "thinking"):
        wanted = None if isinstance(value, dict) else "an object"
    elif name in CHECKS and name != "stop":
        wanted = CHECKS[name](value)
    if wanted:
        raise invalid_request(f"'{name}' has to be {wanted}.", param=name)


def _known(betas: str) -> str:
    named = [beta.strip() for beta in betas.split(",")]
    return ",".join([beta for beta in named if _BETA.fullmatch(beta)][:_MOST_BETAS])


# Gemini's API, with its field names in camelCase. Google accepts camelCase and snake_case everywhere, and refuses
# unknown fields at the top level. Nested ones are passed on, because Gemini gets new ones all the time.
# https://ai.google.dev/api/generate-content#request-body

_STREAM = "stream_generate_content"
_MOST_EMBEDDINGS = 2048
# The edge, which reserves before this is parsed, knows no other spelling.
_SNAKE_CASE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
# A cache belongs to the gateway's account at Google, where it may hold other clients' content.
_GEMINI_REFUSED = {"cachedContent": "'cachedContent' cannot be used here: caches belong to the gateway's account."}

# Checks a value and returns it in its normal form. Raises ApiError 400 that names the place.
_Check = Callable[[Any, str], Any]


def parse_generate_content(endpoint: str, raw: bytes, model: str, *, events: bool) -> Completion:
    """`endpoint`: one of `prices.GOOGLE`. `model`: from the path. `events`: a stream is sent as server-sent events.

    Raises ApiError 400 that names the field.
    """
    model = named_model(model)
    body = parse_object(raw)
    claimed = claims.of_body(body)
    drop_labels(body)
    for name in (*LABELS.intersection(body), "model"):
        if name != "store":
            body.pop(name, None)
    own = {name: body.pop(name, None) for name in OWN_FIELDS}
    for name, value in own.items():
        wanted = CHECKS[name](value) if value is not None else None
        if wanted:
            raise _refusal(name, wanted)
    refuse_forbidden(body)
    body = _TOP[endpoint](body, "")
    for name in _REQUIRED[endpoint]:
        if not body.get(name):
            raise invalid_request(f"'{name}' is missing or empty.", param=name)
    try:
        terms = pricing.terms(endpoint, body)
    except RecursionError:
        raise invalid_request("The body is nested too deeply.", code="invalid_json") from None
    stream = endpoint == _STREAM
    return Completion(
        "generate_content" if stream else endpoint,
        body,
        model,
        stream,
        False,
        routed(model, len(raw), own, stream=stream),
        own["timeout"],
        cache=own["cache"] or {},
        claims=claimed,
        terms=terms,
        json_array=stream and not events,
    )


def _refusal(where: str, wanted: str) -> ApiError:
    return invalid_request(f"'{where}' has to be {wanted}.", param=where)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _fields(checks: Mapping[str, _Check], *, closed: bool = False) -> _Check:
    """An object. Fields without a check are passed on, or refused if the object is `closed`. Nulls count as absent."""

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _refusal(where, "an object")
        made: dict[str, Any] = {}
        for given, inner in value.items():
            if inner is None:
                continue
            name = _camel(given) if _SNAKE_CASE.fullmatch(given) else given
            place = f"{where}.{name}" if where else name
            known = checks.get(name)
            if known is None and closed:
                raise invalid_request(f"The field '{given[:100]}' is unknown.", param=given[:100])
            if name in made:
                raise invalid_request(f"'{place}' is given twice.", param=place)
            made[name] = inner if known is None else known(inner, place)
        return made

    return check


def _gemini_list(item: _Check) -> _Check:
    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _refusal(where, "an array")
        return [item(one, where) for one in value]

    return check


def _a(kind: type | tuple[type, ...], wanted: str) -> _Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _refusal(where, wanted)
        return value

    return check


def _count(value: Any, where: str) -> int:
    """Google takes 0 for absent, as for every number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise _refusal(where, "a whole number that is not negative")
    return value


def _refused(value: Any, where: str) -> Any:
    raise invalid_request(_GEMINI_REFUSED[where.rpartition(".")[2]], param=where)


_text = _a(str, "a string")
_flag = _a(bool, "true or false")
_number = _a((int, float), "a number")
_whole = _a(int, "a whole number")
_object = _a(dict, "an object")
_texts = _gemini_list(_text)

_BLOB = _fields({"mimeType": _text, "data": _text, "displayName": _text})
_FILE = _fields({"mimeType": _text, "fileUri": _text, "displayName": _text})
_PART = _fields(
    {
        "text": _text,
        "thought": _flag,
        "thoughtSignature": _text,
        "inlineData": _BLOB,
        "fileData": _FILE,
        "functionCall": _fields({"id": _text, "name": _text, "args": _object}),
        "functionResponse": _fields(
            {
                "id": _text,
                "name": _text,
                "response": _object,
                "parts": _gemini_list(_fields({"inlineData": _BLOB, "fileData": _FILE})),
            }
        ),
        "executableCode": _object,
        "codeExecutionResult": _object,
        "videoMetadata": _object,
    }
)
_CONTENT = _fields({"role": _text, "parts": _gemini_list(_PART)})
_FUNCTION = _fields(
    {
        "name": _text,
        "description": _text,
        "parameters": _object,
        "parametersJsonSchema": _object,
        "response": _object,
        "responseJsonSchema": _object,
    }
)
_GENERATION = _fields(
    {
        "temperature": _number,
        "topP": _number,
        "topK": _number,
        "seed": _whole,
        "candidateCount": _count,
        "maxOutputTokens": _count,
        "stopSequences": _texts,
        "presencePenalty": _number,
        "frequencyPenalty": _number,
        "responseLogprobs": _flag,
        "logprobs": _whole,
        "responseMimeType": _text,
        "responseSchema": _object,
        "responseJsonSchema": _object,
        "responseModalities": _texts,
        "thinkingConfig": _fields({"includeThoughts": _flag, "thinkingBudget": _whole, "thinkingLevel": _text}),
        "speechConfig": _object,
        "imageConfig": _object,
    }
)
_CHAT = {
    "contents": _gemini_list(_CONTENT),
    "systemInstruction": _CONTENT,
    "tools": _gemini_list(_fields({"functionDeclarations": _gemini_list(_FUNCTION)})),
    "toolConfig": _fields({"functionCallingConfig": _fields({"mode": _text, "allowedFunctionNames": _texts})}),
    "generationConfig": _GENERATION,
    "safetySettings": _gemini_list(_object),
    "labels": _object,
    "serviceTier": _text,
    "store": _flag,
    "cachedContent": _refused,
}
_CHAT_REQUEST = _fields(_CHAT, closed=True)


def _nested_chat(value: Any, where: str) -> dict[str, Any]:
    """The request that is to be counted. Google wants the model there, too; the path's is meant."""
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if name != "model"}
    return _CHAT_REQUEST(value, "")


def _counted(value: Any, where: str) -> dict[str, Any]:
    body = _fields({**_CHAT, "generateContentRequest": _nested_chat}, closed=True)(value, where)
    nested = body.pop("generateContentRequest", None)
    if nested is not None and body:
        raise invalid_request("Give either 'generateContentRequest' or its fields.", param="generateContentRequest")
    return body if nested is None else nested


_EMBEDDING = {
    "content": _CONTENT,
    "taskType": _text,
    "title": _text,
    "outputDimensionality": _count,
    "autoTruncate": _flag,
    "embedContentConfig": _fields(
        {"taskType": _text, "title": _text, "outputDimensionality": _count, "autoTruncate": _flag}
    ),
}


def _batched(value: Any, where: str) -> dict[str, Any]:
    if (
        isinstance(value, dict)
        and isinstance(value.get("requests"), list)
        and len(value["requests"]) > _MOST_EMBEDDINGS
    ):
        raise invalid_request(f"'requests' may contain {_MOST_EMBEDDINGS} requests at most.", param="requests")
    body = _fields({"requests": _gemini_list(_fields({**_EMBEDDING, "model": _text}, closed=True))}, closed=True)(
        value, where
    )
    for one in body.get("requests", ()):
        one.pop("model", None)
        if not one.get("content"):
            raise invalid_request("'requests' has to be an array of objects with 'content'.", param="requests.content")
    return body


_TOP: dict[str, _Check] = {
    "generate_content": _CHAT_REQUEST,
    _STREAM: _CHAT_REQUEST,
    GOOGLES_COUNT: _counted,
    "embed_content": _fields(_EMBEDDING, closed=True),
    "batch_embed_contents": _batched,
}
_REQUIRED = {
    "generate_content": ("contents",),
    _STREAM: ("contents",),
    GOOGLES_COUNT: ("contents",),
    "embed_content": ("content",),
    "batch_embed_contents": ("requests",),
}


# OpenAI's Responses API. `stored_input` has what a request refers to.
# https://platform.openai.com/docs/api-reference/responses/create

RESPONSES = "responses"
_LIMIT = "max_output_tokens"
_MOST_METADATA = 16
# Fields that need no check by name.
_KNOWN = engine_body.FIELDS[RESPONSES] | {name for name in OWN_FIELDS if not forbidden((name,))}


def parse_responses(raw: bytes, endpoint: str = RESPONSES) -> Completion:
    """`endpoint`: this one, or one beside it. Raises ApiError 400 that names the field."""
    body = parse_object(raw)
    claimed = claims.of_body(body)
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    if not body.keys() <= _KNOWN:
        drop_labels(body)
        refuse_forbidden(body)
    name_user(body)
    model = named_model(body.get("model"))
    for name, value in body.items():
        check = _CHECKS.get(name)
        wanted = check(value) if check else None
        if wanted:
            raise invalid_request(f"'{name}' has to be {wanted}.", param=name)
    own = {name: body.pop(name, None) for name in OWN_FIELDS}
    _keep_one_limit(body)
    if not body.keys() <= engine_body.FIELDS[endpoint]:
        _leave_out_others(endpoint, body)
    if "metadata" in body:
        body["metadata"] = _texts_only(body["metadata"])
    refuse_shared(body)
    stream = bool(body.get("stream"))
    route = routed(model, len(raw), own, stream=stream)
    return Completion(
        endpoint, body, model, stream, False, route, own["timeout"], cache=own["cache"] or {}, claims=claimed
    )


def _leave_out_others(endpoint: str, body: dict[str, Any]) -> None:
    """Removes unknown fields. Raises ApiError 400 if the client would expect one of them to have an effect."""
    foreign = engine_body.foreign_fields(endpoint, body)
    believed = engine_body.believed_field(foreign)
    if believed:
        raise invalid_request(engine_body.why_refused(believed), param=believed)
    for name in foreign:
        del body[name]


def _keep_one_limit(body: dict[str, Any]) -> None:
    """Sends the lowest of the output limits, whatever the client calls it."""
    names = OUTPUT_LIMITS.intersection(body)
    if not names:
        return
    limit = lowest_limit(body)
    for name in names:
        del body[name]
    if limit is not None:
        body[_LIMIT] = limit


def _texts_only(metadata: Any) -> dict[str, str]:
    """The metadata that OpenAI accepts. LiteLLM's clients use the field for labels such as `{"tags": […]}` as well.

    https://platform.openai.com/docs/api-reference/responses/create#responses-create-metadata
    """
    given = metadata if isinstance(metadata, dict) else {}
    found = {name: value for name, value in given.items() if isinstance(value, str)}
    return found if len(found) <= _MOST_METADATA else {}


def _said(value: Any) -> str | None:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        return None
    return "a string or an array of items"


def _tools(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(t, dict) and isinstance(t.get("type"), str) for t in value):
        return None
    return "an array of tools, each with a 'type'"


def _responses_list(value: Any) -> str | None:
    return None if isinstance(value, list) else "an array of strings"


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "input": _said,
    "instructions": _said,
    "tools": _tools,
    "text": CHECKS["metadata"],
    "reasoning": CHECKS["metadata"],
    "include": _responses_list,
    "stream": CHECKS["stream"],
    "n": CHECKS["n"],
    **{name: CHECKS[name] for name in OWN_FIELDS},
}

# What belongs to the provider's account, which all keys share, or is billed after the request has ended.
_RESPONSES_REFUSED = {
    "background": "'background' is not supported. Leave it out, and stream the response if it takes long.",
    "conversation": "'conversation' is not supported. Use 'previous_response_id', or send the conversation as 'input'.",
    "prompt": "'prompt' is not supported: stored prompts belong to the provider's account. Send 'instructions'.",
}
ENCRYPTED_REASONING = "reasoning.encrypted_content"


def refuse_shared(fields: Mapping[str, Any]) -> None:
    """Raises ApiError 400 that names the field if the request uses what is not the key's own."""
    for name, message in _RESPONSES_REFUSED.items():
        if fields.get(name) not in (None, False):
            raise invalid_request(message, param=name)


def without_storage(fields: dict[str, Any]) -> dict[str, Any]:
    """Adapt a request for a provider that stores nothing.

    Reasoning is returned encrypted, unless the client itself disabled storage. Reasoning items that only name a stored
    item are removed.
    """
    made = {**fields, "store": False}
    include = fields.get("include")
    if fields.get("store") is not False and (include is None or isinstance(include, list)):
        made["include"] = list(dict.fromkeys([*(include or ()), ENCRYPTED_REASONING]))
    items = fields.get("input")
    if isinstance(items, list) and any(map(_is_empty_reasoning, items)):
        made["input"] = [item for item in items if not _is_empty_reasoning(item)]
    return made


def _is_empty_reasoning(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "reasoning"
        and not item.get("encrypted_content")
        and str(item.get("id", "")).startswith("rs_")
    )
