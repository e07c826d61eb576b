"""Maps a provider's error response (status, headers, body) to an Outcome, and recognizes what its message means: prompt
too long, content filtered, name not found, and so on.

The body becomes a dict with `message`, `code`, `type` and `param`. Known shapes:

    {"error": {"message": …}}   {"error": "…"}   {"error": […]}   {"errors": […]}   {"message": …}   {"detail": …}
    {"message": {"detail": [{"loc": […], "msg": …}]}}      Mistral, FastAPI
    {"error": {"message": "Provider returned error", "metadata": {"raw": "…"}}}      OpenRouter
    {"base_resp": {"status_code": 1008, "status_msg": …}}      MiniMax
    plain text, an HTML page
"""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.core.api.errors import upstream_failed

from ...observability.log import hide_secrets
from ...routing.health import Kind, Outcome

# What the codes and the wording of an error mean.

_CONTEXT_CODES = frozenset(
    (
        "context_length_exceeded",
        "context_window_exceeded",
        "contextwindowexceedederror",
        "exceed_context_size_error",
        "model_max_prompt_tokens_exceeded",
        "max_context_length_exceeded",
        "tokens_limit_reached",
        "prompt_too_long",
        "input_too_long",
        "request_too_large",
    )
)
# These only ever concern the context, so they count with status 500 as well.
_CONTEXT = re.compile(
    r"context (?:length|window|size|limit|overflow)"
    r"|(?:prompt|input text) is too long|input is too long|prompt too long"
    r"|maximum (?:prompt|input|model) length|longer than the maximum model|max message tokens"
    r"|exceeds? (?:the )?(?:maximum|max) (?:prompt|input|sequence) length"
    r"|reduce the length of (?:the |your )?(?:messages|prompt|input|either)"
    r"|current length is .{1,40} while limit is"
    r"|(?:prompt|input) .{0,40}too large for model"
    r"|tokens to keep from the initial prompt"
    r"|contextwindowexceeded|context_length_exceeded|exceed_context_size|max_model_len"
)
_CONTEXT_OF_REFUSALS = re.compile(
    r"`?inputs`? tokens \+ `?max_new_tokens`?|`?inputs`? must have less than"
    r"|range of input length should be|input text length should not exceed|length limit exceeded"
    r"|too many (?:input |prompt )?tokens|prompt: length|expected maxlength"
    r"|\b(?:prompt|inputs?|messages?)\b(?: length)?[^.;]{0,30}\bexceeds?\b[^.;]{0,40}\blength|prompt \+ max_tokens"
    r"|(?:prompt|inputs?|request|conversation)(?: (?:body|payload|length|size|is|are|was))* too (?:long|large)\b"
    r"|request (?:body|payload) (?:size )?exceeds"
)
_TOKENS = re.compile(
    r"(?:\b(?:prompt|inputs?|request|messages?|total|number of)\b[^.]{0,60})?\btokens?\b[^.]{0,80}\bexceed"
    r"|\bexceed[^.]{0,80}\btokens?\b|\btoken (?:count|limit)\b[^.]{0,40}\bexceed"
)
_OUTPUT_TOO_LONG = re.compile(
    r"max_(?:completion_|output_|new_)?tokens\W{0,3}[^.]{0,30}(?:too large|exceed|must|greater)"
)
_MAXIMUM_LENGTH = re.compile(r"maximum length (\d+)")
_SHORT_TEXT = 100_000  # in characters; ids and names have lower limits, prompts may have higher ones

_POLICY_CODES = frozenset(
    (
        "content_filter",
        "content_filtered",
        "content_filter_error",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
        "content_moderation",
        "data_inspection_failed",
        "datainspectionfailed",
        "prohibited_content",
        "policy_violation",
        "guardrail_intervened",
        "invalid_prompt",
        "sensitive",
        "1301",
    )
)
_POLICY = re.compile(
    r"content management policy|contentpolicyviolation|content_policy|content[ _]filter|responsible ?ai"
    r"|safety (?:system|reasons|check|settings|filter)|safety_check|\bmoderation\b"
    r"|\b(?:input|prompt|content|request|text|image|response)\b[^.]{0,60}\bflagged\b"
    r"|violat\w*\b[^.]{0,60}\b(?:usage|use|content|safety|community|service)\b[^.]{0,20}\b(?:polic|guideline|terms)"
    r"|content (?:violates|exists risk)|considered high risk|inappropriate content|harmful content|invalid content"
    r"|sensitive content|unsafe content|blocked by (?:our |the )?(?:content|safety|guardrail)|guardrail"
    r"|(?:prompt|response|output|input) (?:was|is|has been) blocked|敏感|content policy"
)

_MODEL_CODES = frozenset(
    ("model_not_found", "deploymentnotfound", "model_not_available", "unknown_model", "invalid_model", "modelnotfound")
)
_NO_ACCESS_TO_MODEL = re.compile(r"\baccess to (?:the )?model\b|\bmodel\b[^.]{0,80}\bdoes not (?:exist|have access)")
# https://openrouter.ai/docs/api-reference/errors
_TOO_DEAR = re.compile(r"fewer max_tokens|can only afford|prompt tokens limit exceeded")
_OF_KEY = re.compile(
    r"\b(?:api[ _-]?)?keys?\b|credential|token\b|auth|permission|access|account|organi[sz]ation|project|team|user\b"
    r"|workspace|subscription|suspend|disabled|bann?ed|billing|credits?\b|quota|spend|limit|payment|balance"
    r"|countr|region|territor|location|\bip\b|address|not been used|not enabled"
)
# Things stored with a provider that a request may refer to, and the prefixes of their ids.
_THINGS = re.compile(
    r"\b(?:items?|files?|previous[ _]response|response|conversation|container|vector[ _]store|assistant|thread|run"
    r"|batch|tool|function|skill|prompt|upload|message|reasoning|session|voice|cached ?content|image|document)\b"
)
_IDS = re.compile(
    r"\b(?:rs|msg|fc|fco|ctc|resp|conv|file|item|vs|cntr|thread|asst|call|run|batch|ws|ig|mcp|toolu|skill|pmpt|upload)"
    r"[_-][a-z0-9]{4,}"
)
_MODEL = re.compile(r"\bmodels?\b|\bdeployment\b")
_NAMED_MODEL = re.compile(r"\b(?:model|deployment)s?:? ?[`'\"/]")
_FEATURE_MISSING = re.compile(
    r"no endpoints found that (?:support|can handle)|not an? (?:chat|multimodal|vision|completion|embeddings?) model"
    r"|not allowed to (?:generate embeddings|sample) from this model|is a chat model and not supported"
    r"|only supported in v1/|not supported (?:in|for|with|at) (?:the )?/?v1/|invalid model for endpoint"
    r"|does not support (?:this (?:endpoint|api|operation)|chat|embeddings?|completions?|(?:image|speech) generation)\b"
    r"|operation not supported for this model|unsupported provider:"
)
# A missing path. Errors about a missing model say more.
_PATH_MISSING = re.compile(
    r"(?:404 page |path |url |endpoint )?not found\W*$|the provider answered with status|method not allowed"
    r"|not implemented|(?:invalid|unknown) (?:request )?url|cannot post |does not support |not supported by this server"
)
# Python errors in the engine itself, raised while translating a request or a response.
_ENGINE_STUMBLED = re.compile(
    r"object (?:is not|has no attribute|does not support|of type)\b|indices must be|<class '\w+'>|unhashable type"
    r"|unsupported operand|litellm\.apiconnectionerror: '\w+'$"
)
# OpenRouter, when the request or account excludes every provider.
_NO_CHOICE = re.compile(r"no endpoints (?:found|available) matching|no allowed providers|providers have been ignored")
_STORED_AND_MISSING = re.compile(
    r"\b(?:cached ?content|file|item)\b[^.]{0,120}\b(?:not found|does not exist|may not exist|permission to access)"
    r"|permission to access the (?:file|cached ?content)"
)


def says_too_long(status: int, code: str, kind: str, message: str) -> bool:
    """The prompt is too long. `kind` is the error's type.

    An error about a string that is too long counts only if the limit is long enough for a prompt, because ids and names
    have limits too.
    """
    if code == "string_above_max_length" or "string too long" in message:
        most = _MAXIMUM_LENGTH.search(message)
        return most is not None and int(most[1][:12]) >= _SHORT_TEXT
    if code in _CONTEXT_CODES or kind in _CONTEXT_CODES or _CONTEXT.search(message):
        return True
    if status >= 500:
        return False
    if _CONTEXT_OF_REFUSALS.search(message):
        return True
    return bool(_TOKENS.search(message)) and not _OUTPUT_TOO_LONG.search(message)


def says_too_large_at_once(code: str, message: str) -> bool:
    """The request alone exceeds the deployment's limit per minute. Waiting does not help, but smaller requests succeed
    (Groq's 413, OpenAI's 429).
    """
    return "request too large" in message or (code == "rate_limit_exceeded" and "too large" in message)


def says_filtered(code: str, kind: str, message: str) -> bool:
    """A filter refused the prompt or the response."""
    return code in _POLICY_CODES or kind in _POLICY_CODES or _POLICY.search(message) is not None


def says_no_such_model(code: str, message: str) -> bool:
    return code in _MODEL_CODES or _NO_ACCESS_TO_MODEL.search(message) is not None


def says_feature_missing(message: str) -> bool:
    """The model does not support the request, or not at this endpoint. The status is 403, 404, 405 or 5xx."""
    return _FEATURE_MISSING.search(message) is not None


def says_no_choice(message: str) -> bool:
    """The request may use none of the providers behind this one."""
    return _NO_CHOICE.search(message) is not None


def says_too_dear(message: str) -> bool:
    """The request may cost more than the remaining credit, but cheaper ones succeed (OpenRouter's 402)."""
    return _TOO_DEAR.search(message) is not None


def says_of_key(code: str, kind: str, message: str) -> bool:
    """A 403 is about our key or account, not about this request."""
    return _OF_KEY.search(f"{code} {kind} {message}") is not None


def says_path_missing(message: str) -> bool:
    """The server does not have the endpoint. The error says nothing about the model."""
    return _PATH_MISSING.match(message) is not None


def says_engine_stumbled(message: str) -> bool:
    """The engine failed to translate the request or response. The deployment is not at fault."""
    return _ENGINE_STUMBLED.search(message) is not None


def says_request_named_it(param: str, code: str, message: str) -> bool:
    """A 404 is about something that the request refers to, such as an item or a file, not about the model."""
    if param == "model" or says_no_such_model(code, message) or _NAMED_MODEL.search(message):
        return False
    if param or _IDS.search(message):
        return True
    return _THINGS.search(message) is not None and _MODEL.search(message) is None


def says_stored_thing_missing(message: str) -> bool:
    """A 403 is about a missing file or cache. Google does not use 404 for these."""
    return _STORED_AND_MISSING.search(message) is not None


_OF_NAMES = frozenset("unsupported_parameter unknown_parameter extra_forbidden unknown_field wrong_api_format".split())
_OF_VALUES = frozenset(
    "unsupported_value invalid_value invalid_type integer_above_max_value integer_below_min_value "
    "decimal_above_max_value decimal_below_min_value context_length_exceeded string_above_max_length".split()
)
# Wording about a value. An unknown field has no invalid values.
_VALUE = re.compile(
    r"too (?:large|big|high|long|small|low|many)|at (?:most|least)|maximum|minimum|exceed|greater|larger than|less than"
    r"|smaller than|between|range|must be|should be|has to be|above|below|positive|integer|up to|value of"
)
_UNKNOWN = (
    r"(?:unrecogni[sz]ed|unknown|unsupported(?! value)|unexpected|extra|additional|undefined|unpermitted"
    r"|invalid (?:field|parameter|argument|property|key|name)s?)\b"
)
_NOT_TAKEN = (
    r"(?:not (?:supported|permitted|allowed|recogni[sz]ed|known|accepted|available|a valid|valid)|unsupported"
    r"|unexpected|unknown|unrecogni[sz]ed|no longer|deprecated|extra (?:inputs|fields))"
)
_GAP = r"[^.;\d]{0,60}?"


def refuses_name(refusal: Outcome, name: str, instead: str = "") -> bool:
    """Whether the refusal says that the field `name` is unknown.

    `instead` is the name that the provider may suggest.
    """
    param, code = refusal.param or "", refusal.code or ""
    if code in _OF_VALUES or (param and not _is(param, name)):
        return False
    if param and code in _OF_NAMES:
        return True
    said = refusal.message.lower()
    # Azure writes `MaxTokens`
    name, instead = (each.replace("_", "_?") for each in (name, instead))
    here = rf"(?<![\w.-])(?:body\.|\$\.)?{name}(?![\w-])"
    if not re.search(here, said):
        return False
    if instead and re.search(rf"\b{instead}\b\W{{0,4}} instead|(?:use|mean)\W+{instead}\b", said):
        return True
    if not re.search(rf"{_UNKNOWN}{_GAP}{here}|{here}{_GAP}{_NOT_TAKEN}", said):
        return False
    return code in _OF_NAMES or not (_VALUE.search(said) or re.search(rf"{here}\W{{0,4}}\d", said))


def _is(param: str, name: str) -> bool:
    """Whether `param` refers to the field: `max_tokens`, `body.max_tokens`, `["max_tokens"]`."""
    return re.split(r"[.\[\]\"' ]+", param.strip(".[]\"' "))[-1] == name


# From a response to an outcome.

_SHOWN = 500
_STATUS = re.compile("[45][0-9]{2}")
# Headers with rate limits and retry delays.
_PASSED_ON = ("retry-after", "retry-after-ms")
_PASSED_ON_PREFIX = "x-ratelimit-"
# The engine prefixes its provider's headers with this
_ENGINE_PREFIX = "llm_provider-"
# and appends its own details to messages.
_ENGINE_ADDS = ("\n\nLiteLLM: ", "Received Model Group=", "\nTraceback (most recent call last)")

# Provider codes for an unsupported field or value. LiteLLM puts this in the message instead.
UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_UNSUPPORTED_PHRASE = "unsupportedparamserror"
_CREDENTIAL_CODES = {"invalid_api_key", "api_key_invalid", "authentication_error"}
# Only at the beginning. Further on, a message may quote the client's input.
_CREDENTIALS = re.compile(
    r"(?:error: |litellm\.\w+: )?(?:\w+exception ?- )?"
    r"(?:incorrect api key|invalid api key|api key not valid|invalid x-api-key)"
)
# HTTP statuses for error types that arrive with status 200 or in a stream.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "invalid_argument": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "notfounderror": 404,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "ratelimiterror": 429,
    "too_many_requests": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_CALLER = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 417, 422, 428, 431})
_FLEX_CAPACITY = 498  # Groq's status for a service tier that is at capacity


def from_response(status: int, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Outcome:
    """The outcome of a response whose status is not 200. `now` is in seconds since the epoch, for dates in
    `Retry-After`.
    """
    said = {name.lower().removeprefix(_ENGINE_PREFIX): value for name, value in headers.items()}
    passed = [(n, value) for n, value in said.items() if n in _PASSED_ON or n.startswith(_PASSED_ON_PREFIX)]
    return _outcome(
        error_fields(raw),
        status,
        f"The provider answered with status {status}.",
        retry_after=retry_after(said, time.time() if now is None else now),
        headers=tuple(passed),
    )


def from_error_event(error: Any) -> Outcome:
    """The outcome of an error that arrives with status 200 or as an event.

    `error` is the entire body or its `error` field, in any shape (container/formats/shared/failure.py).
    """
    fields = fields_of(error)
    return _outcome(fields, _status_in(fields), "The provider answered with an error.")


def error_event(failed: Outcome) -> bytes:
    """An event in OpenAI's format that reports a failure in the middle of a response."""
    return b"data: " + orjson.dumps(upstream_failed(502, failed.message).fields()) + b"\n\n"


def _outcome(fields: Mapping[str, Any], status: int, default: str, **more: Any) -> Outcome:
    """Builds the outcome. `status` is 0 if the provider gave none."""
    code, param, type = (_text(fields.get(name)) for name in ("code", "param", "type"))
    message = shown(_text(fields.get("message")) or "")
    type = (type or _text(fields.get("error_type")) or "").lower()
    implied = status or _STATUS_OF_TYPE.get(type) or 500
    said = Said(implied, (code or "").lower(), type, (param or "").lower(), message.lower())
    kind = _filtered_by_openrouter(fields) or _kind(said)
    blameless = _is_blameless(said, kind, page=fields.get("page") is True)
    hides = kind == "authentication" and not blameless
    return Outcome(
        kind,
        status,
        credentials_refused(status) if hides else message or shown(_text(fields.get("unread")) or "") or default,
        code=code,
        param=param,
        blameless=blameless,
        **more,
    )


def _status_in(fields: Mapping[str, Any]) -> int:
    """The HTTP status in the fields of an error, or 0."""
    for name in ("code", "status", "status_code", "http_code"):
        value = fields.get(name)
        if type(value) is int and 400 <= value < 600:
            return value
        if isinstance(value, str) and _STATUS.fullmatch(value):
            return int(value)
    return 0


def _filtered_by_openrouter(fields: Mapping[str, Any]) -> Kind | None:
    """OpenRouter's moderation reports what it flagged. https://openrouter.ai/docs/api-reference/errors"""
    metadata = fields.get("metadata")
    flagged = isinstance(metadata, dict) and (metadata.get("flagged_input") or metadata.get("reasons"))
    return "content_policy" if flagged else None


def shown(message: str) -> str:
    """Makes a provider's message fit for the client: shortens it and removes anything that looks like a key."""
    message = message[: 4 * _SHOWN]
    for mark in _ENGINE_ADDS:
        said, found, _ = message.partition(mark)
        if found:
            message = said.rstrip(". \t\r\n")
    return hide_secrets(message)[:_SHOWN]


def credentials_refused(status: int) -> str:
    return "The provider refused this gateway's credentials" + (f" (status {status})." if status else ".")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The delay requested by the provider in seconds, or None.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


class Said(NamedTuple):
    """The content of an error in lower case, with '' for missing fields."""

    status: int
    code: str
    type: str
    param: str
    message: str


def _kind(said: Said) -> Kind:
    status, message = said.status, said.message
    if status > 401 and status not in _CALLER and says_feature_missing(message):
        return "unsupported"
    if status in (401, 403, 407):
        return _of_forbidden(said)
    if status == 404:
        return "caller" if says_request_named_it(said.param, said.code, message) else "not_found"
    if status == 410:
        return "not_found"
    if status in (413, 429) and says_too_large_at_once(said.code, message):
        return "context_window"
    if status in (429, _FLEX_CAPACITY):
        return "rate_limit"
    if status in (408, 504):
        return "timeout"
    if status == 413 or says_too_long(status, said.code, said.type, message):
        return "context_window"
    if status in _CALLER:
        return _of_bad_request(said)
    if status == 451:
        return "content_policy"
    if said.code in ("rate_limit_exceeded", "insufficient_quota") or said.type == "rate_limit_error":
        return "rate_limit"
    # Every other status, such as 500, 502, 503 and 529.
    return "server"


def _is_blameless(said: Said, kind: Kind, *, page: bool) -> bool:
    """Whether the error may concern only this request, so that the deployment can still serve others.

    An HTML page with status 403 counts too: a firewall may have objected to the text of the prompt.
    """
    if said.status == 403 and kind == "authentication":
        return page or not says_of_key(said.code, said.type, said.message)
    if said.status == 402:
        return says_too_dear(said.message)
    if kind == "server":
        return says_engine_stumbled(said.message)
    return said.status == 404 and says_no_choice(said.message)


def _of_forbidden(said: Said) -> Kind:
    """The kind of a 401, 403 or 407: our key is refused, unless the error is about the request."""
    if said.status == 403:
        if says_stored_thing_missing(said.message):
            return "caller"
        if says_filtered("", "", said.message):
            return "content_policy"
    if says_filtered(said.code, said.type, ""):
        return "content_policy"
    return "not_found" if says_no_such_model(said.code, said.message) else "authentication"


def _of_bad_request(said: Said) -> Kind:
    if said.code in UNSUPPORTED_CODES or _UNSUPPORTED_PHRASE in said.message:
        return "unsupported"
    if says_filtered(said.code, said.type, said.message):
        return "content_policy"
    if said.code in _CREDENTIAL_CODES or said.type in _CREDENTIAL_CODES or _CREDENTIALS.match(said.message):
        return "authentication"
    return "caller"


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


# The error body.

# Fields that contain the error message, most specific first.
_WORDS = (
    "message",
    "msg",
    "detail",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "error_description",
    "errorDescription",
    "description",
    "details",
    "error",
    "errors",
    "Message",
    "Error",
    "innererror",
    "fault",
    "faultstring",
    "fieldViolations",
    "reason",
    "title",
    "exception",
    "cause",
)
# Fields with details, for messages that only name the status.
_MORE = ("errors", "details", "error_description", "innererror")
_SHORT = 40  # in characters
_MOST_ITEMS = 5
_MOST_DEPTH = 6
_CODE = re.compile(r"[\w.:/-]{1,80}")
_TITLE = re.compile(r"<(title|h1|message|faultstring)[^>]*>(.{1,200}?)</\1", re.IGNORECASE | re.DOTALL)
_HTML = re.compile(r"\s*(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|\?xml|h1|center)\b", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^>]*>")
_SAYS_SOMETHING = re.compile(r'[:\[]"[^"]')  # a string that is a value, not a key
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")
# MiniMax error codes and the corresponding HTTP statuses. https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX = {
    1001: 504,
    1002: 429,
    1039: 429,
    1041: 429,
    1004: 401,
    2049: 401,
    1008: 402,
    2056: 429,
    2013: 400,
    1042: 400,
}
_MINIMAX_FILTER = (1026, 1027)


def error_fields(raw: bytes) -> dict[str, Any]:
    """The fields of an error response, or an empty dict if it says nothing.

    `unread` contains the entire body if it has text in an unknown shape. `page` is True for an HTML page.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        message, page = _plain_text(raw)
        return {**({"message": message} if message else {}), **({"page": True} if page else {})}
    fields = fields_of(body)
    if fields.get("message") or not isinstance(body, dict | list):
        return fields
    text = orjson.dumps(body).decode()
    return {**fields, "unread": text} if _SAYS_SOMETHING.search(text) else fields


def fields_of(body: Any) -> dict[str, Any]:
    """The fields of a parsed error body."""
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]  # Gemini's streams are lists of responses
    if not isinstance(body, dict):
        message = words(body)
        return {"message": message} if message else {}
    fields = _innermost(body)
    message = words(fields)
    raw = _raw(fields)
    more = words(raw)
    if not more and len(message) <= _SHORT:
        more = next(filter(None, (words(fields.get(name) or body.get(name)) for name in _MORE)), "")
    if more and more not in message:
        message = f"{message.rstrip('.: ')}: {more}" if message else more
    found = {**fields, "message": message} if message else {k: v for k, v in fields.items() if k != "message"}
    if not isinstance(found.get("code"), (str, int)) or not _CODE.fullmatch(str(found["code"])):
        found["code"] = None
    if isinstance(raw, dict) and not fields.get("type"):
        inner = _innermost(raw)
        found["type"] = next((inner[name] for name in ("code", "type") if isinstance(inner.get(name), str)), None)
    field = _forbidden_field(fields)
    if field and not found["code"]:
        found |= {"code": "unknown_parameter", "param": field}
    return found


def words(value: Any, depth: int = 0) -> str:
    """The error message in a value of any shape, or '' if there is none."""
    if depth > _MOST_DEPTH:
        return ""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("{", "["):
            try:
                return words(orjson.loads(text), depth + 1) or text
            except orjson.JSONDecodeError:
                return text
        return text
    if isinstance(value, list):
        return "; ".join(filter(None, (words(item, depth + 1) for item in value[:_MOST_ITEMS])))
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("msg"), str) and isinstance(value.get("loc"), list):
        where = ".".join(str(part) for part in value["loc"])
        return f"{where}: {value['msg']}" if where else value["msg"]
    for name in _WORDS:
        found = words(value.get(name), depth + 1)
        if found:
            return found
    # An object with unknown fields instead of a text. Showing it is better than nothing.
    odd = next((value[name] for name in _WORDS if isinstance(value.get(name), dict) and value[name]), None)
    return orjson.dumps(odd, default=str).decode() if odd is not None and depth < 2 else ""


def says_error(body: Mapping[str, Any]) -> bool:
    """Whether a response with status 200, or a stream event, reports an error, whatever else it contains."""
    error = body.get("error")
    if error and (not isinstance(error, dict) or any(error.values())):
        return True
    if isinstance(error, dict) and "choices" not in body:
        return True
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") not in (0, "0", None):
        return True
    return body.get("object") == "error" or body.get("type") == "error"


def _innermost(body: dict[str, Any]) -> dict[str, Any]:
    """The object that contains the message and the code."""
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        code = base["status_code"]
        status = _MINIMAX.get(code, 500) if isinstance(code, int) else 500
        known = (
            {"code": "content_filter", "status": 400} if code in _MINIMAX_FILTER else {"code": code, "status": status}
        )
        return {**known, "message": base.get("status_msg")}
    error = body.get("error")
    if isinstance(error, dict) and error:
        inner = error.get("error")
        return _innermost(error) if isinstance(inner, dict) and not error.get("message") else error
    if error:
        return {
            **{k: v for k, v in body.items() if k != "error"},
            "message": words(error) or words(body.get("message")),
        }
    errors = body.get("errors")
    if isinstance(errors, list) and errors and not body.get("message"):
        first = errors[0] if isinstance(errors[0], dict) else {}
        return {**first, "message": words(errors)}
    return body


def _raw(fields: Mapping[str, Any]) -> Any:
    """The error of the provider behind OpenRouter, parsed if it is JSON."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    try:
        return orjson.loads(raw) if isinstance(raw, str) else raw
    except orjson.JSONDecodeError:
        return raw


def _forbidden_field(fields: Mapping[str, Any]) -> str | None:
    """The request field that FastAPI does not permit."""
    held = fields.get("message") if isinstance(fields.get("message"), dict) else fields
    listed = held.get("detail") if isinstance(held, dict) else None
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and (
            item.get("type") == "extra_forbidden" or item.get("type") == "value_error.extra"
        ):
            named = [part for part in item.get("loc") or () if isinstance(part, str) and part != "body"]
            return named[0] if named else None
    return None


def _plain_text(raw: bytes) -> tuple[str, bool]:
    """The title of an HTML page or the plain text, and whether it is a page."""
    try:
        text = raw[:8192].decode()
    except UnicodeDecodeError as error:
        if error.start < 8188:
            return "", False  # binary data
        text = raw[: error.start].decode()
    page = _HTML.match(text) is not None
    if page:
        found = _TITLE.search(text)
        text = _MARKUP.sub(" ", found[2]) if found else ""
    return _BLANK.sub(" ", text).strip(), page
