"""Parses and validates a request of Gemini's API, and writes its field names in camelCase.

Google accepts camelCase and snake_case everywhere, and refuses unknown fields at the top level. Nested ones are passed
on, because Gemini gets new ones all the time. https://ai.google.dev/api/generate-content#request-body
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from worker.core.api.errors import ApiError, invalid_request
from worker.core.pricing import generate_content as pricing
from worker.core.pricing.prices import GOOGLES_COUNT
from worker.core.values import claims

from .authority import refuse_forbidden
from .completion import CHECKS, LABELS, OWN_FIELDS, Completion, drop_labels, named_model, parse_object, routed

_STREAM = "stream_generate_content"
_MOST_EMBEDDINGS = 2048
# The edge, which reserves before this is parsed, knows no other spelling.
_SNAKE_CASE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
# A cache belongs to the gateway's account at Google, where it may hold other clients' content.
_REFUSED = {"cachedContent": "'cachedContent' cannot be used here: caches belong to the gateway's account."}

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


def _list(item: _Check) -> _Check:
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
    raise invalid_request(_REFUSED[where.rpartition(".")[2]], param=where)


_text = _a(str, "a string")
_flag = _a(bool, "true or false")
_number = _a((int, float), "a number")
_whole = _a(int, "a whole number")
_object = _a(dict, "an object")
_texts = _list(_text)

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
                "parts": _list(_fields({"inlineData": _BLOB, "fileData": _FILE})),
            }
        ),
        "executableCode": _object,
        "codeExecutionResult": _object,
        "videoMetadata": _object,
    }
)
_CONTENT = _fields({"role": _text, "parts": _list(_PART)})
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
    "contents": _list(_CONTENT),
    "systemInstruction": _CONTENT,
    "tools": _list(_fields({"functionDeclarations": _list(_FUNCTION)})),
    "toolConfig": _fields({"functionCallingConfig": _fields({"mode": _text, "allowedFunctionNames": _texts})}),
    "generationConfig": _GENERATION,
    "safetySettings": _list(_object),
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
    body = _fields({"requests": _list(_fields({**_EMBEDDING, "model": _text}, closed=True))}, closed=True)(value, where)
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
