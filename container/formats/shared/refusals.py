"""Recognizes what a provider's error message means: prompt too long, content filtered, name not found, and so on."""

import re

from ...routing.health import Outcome

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
