"""Parses and validates the body of a request that takes a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.core.api.errors import ApiError, invalid_request
from worker.core.pricing.quote import UNKNOWN_MAX_OUTPUT
from worker.core.values import claims
from worker.core.values.claims import NO_CLAIMS, Claims

from ..routing.router import RouteRequest
from .authority import DEARER, forbidden, refusal
from .client_fields import tidy
from .conversation import Conversation, look
from .stored_input import StoredInput

# Fields handled by the proxy itself. Providers never see them.
OWN_FIELDS = ("cache", "disable_fallbacks", "fallbacks", "num_retries", "timeout")
_OURS = frozenset(OWN_FIELDS)
_NONE_OF_OURS: Mapping[str, Any] = dict.fromkeys(OWN_FIELDS)
BYTES_PER_TOKEN = 4
# Wildcards match any name, and names are matched, logged and stored.
MAX_MODEL_LENGTH = 1024


@dataclass(slots=True)
class Completion:
    """A parsed request. `body` is the client's, without the proxy's own fields.

    timeout        the client's timeout per attempt, in seconds; if it is shorter than the deployment's, it also ends
                   the request
    output_limit   tokens, set if the request has no limit but needs one
    most_output    tokens, set if a budget covers no higher limit, whoever sets it
    unknown_limit  instead of `output_limit`, at a model whose maximum is not known
    limited        a budget relies on the output limit
    betas          Anthropic features that the client requests
    cache          the client's cache controls, `no-cache` and `no-store`
    optional       fields of a translated request that may be left out
    seen           what a chat's messages contain, once that was determined
    claims         its tags and its end user
    terms          the fields that determine the price, None if they are the body's
    json_array     the stream is sent as a JSON array, not as server-sent events
    stored         the responses and items that it refers to
    stores         the response may be stored, so its ids have to be sealed
    """

    endpoint: str
    body: dict[str, Any]
    model: str
    stream: bool
    client_wants_usage: bool
    route: RouteRequest
    timeout: float | None = None
    output_limit: int | None = None
    most_output: int | None = None
    unknown_limit: int = UNKNOWN_MAX_OUTPUT
    limited: bool = False
    betas: str = ""
    cache: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    seen: Conversation | None = None
    claims: Claims = NO_CLAIMS
    stored: StoredInput | None = None
    stores: bool = False
    terms: dict[str, Any] | None = None
    json_array: bool = False

    @property
    def priced(self) -> dict[str, Any]:
        """The fields that determine the price."""
        return self.body if self.terms is None else self.terms


def parse(endpoint: str, raw: bytes) -> Completion:
    """Parse a request and check what every provider would check. Raises ApiError 400 that names the field."""
    body = parse_object(raw)
    claimed = claims.of_body(body)
    body = tidy(endpoint, body)
    model = named_model(body.get("model"))
    seen = look(body)
    checks = _OF_THE_REST if seen is not None and seen.ordinary else CHECKS
    for name, value in body.items():
        check = checks.get(name)
        if check is None:
            if name in DEARER or forbidden((name,)):
                raise refusal(name)
        elif value is not None:
            wanted = check(value)
            if wanted:
                raise invalid_request(f"'{name}' has to be {wanted}.", param=name)
    _REQUIRED[endpoint](body)
    own = _NONE_OF_OURS if _OURS.isdisjoint(body) else {name: body.pop(name, None) for name in OWN_FIELDS}
    stream = bool(body.get("stream"))
    route = routed(model, len(raw), own, stream=stream)
    options = body.get("stream_options")
    wants_usage = bool(options and options.get("include_usage"))
    return Completion(
        endpoint,
        body,
        model,
        stream,
        wants_usage,
        route,
        own["timeout"],
        cache=own["cache"] or {},
        seen=seen,
        claims=claimed,
    )


def named_model(value: Any) -> str:
    """Raises ApiError 400."""
    if not isinstance(value, str) or not value:
        raise invalid_request("'model' is missing or not a string.", param="model", code="missing_model")
    if len(value) > MAX_MODEL_LENGTH:
        raise invalid_request(f"'model' is longer than {MAX_MODEL_LENGTH} characters.", param="model")
    return value


def routed(model: str, size: int, own: Mapping[str, Any], *, stream: bool) -> RouteRequest:
    """`size`: of the body, in bytes. `own`: the proxy's own fields."""
    fallbacks = () if own["disable_fallbacks"] else own["fallbacks"]
    return RouteRequest(
        model,
        tokens=size // BYTES_PER_TOKEN,
        stream=stream,
        fallbacks=None if fallbacks is None else tuple(fallbacks),
        num_retries=own["num_retries"],
    )


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ApiError 400 for anything else, including NaN, lone surrogates and invalid UTF-8."""
    if not raw:
        raise invalid_request("The request has no body. Send a JSON object.")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _malformed(error) from None
    if not isinstance(body, dict):
        raise invalid_request(f"The body has to be a JSON object, not {_json_type(body)}.")
    return body


def encode(fields: Mapping[str, Any]) -> bytes:
    """Encode the body to send upstream. Raises ApiError 400 if it is nested too deeply, which only the encoder
    checks."""
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:
        raise invalid_request("The body is nested too deeply.", code="invalid_json") from None


def _malformed(error: orjson.JSONDecodeError) -> ApiError:
    return invalid_request(f"The body is not valid JSON: {error.msg}.", code="invalid_json")


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a text", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> str | None:
    return None if _is_number(value) else "a number"


def _count(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1 << 31:
        return None
    return "a whole number over 0"


def _whole(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"


def _retries(value: Any) -> str | None:
    return None if _whole(value) is None and 0 <= value <= 10 else "a whole number from 0 to 10"


def _seconds(value: Any) -> str | None:
    return None if _is_number(value) and 0 < value <= 86400 else "a number of seconds greater than 0"


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "a string"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "an object"


def _objects(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return None
    return "an array of objects"


def _text_or_texts(value: Any) -> str | None:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        return None
    return "a string or an array of strings"


def _text_or_object(value: Any) -> str | None:
    return None if isinstance(value, (str, dict)) else "a string or an object"


def _names(value: Any) -> str | None:
    names = isinstance(value, list) and all(isinstance(v, str) and len(v) <= MAX_MODEL_LENGTH for v in value)
    return None if names else "an array of model names"


def _cache_wishes(value: Any) -> str | None:
    if isinstance(value, dict) and all(k in ("no-cache", "no-store") and isinstance(v, bool) for k, v in value.items()):
        return None
    return "an object of 'no-cache' and 'no-store', each true or false"


def _messages(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "an array of at least one message"
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return "an array of messages, each an object with a 'role'"
        content = message.get("content")
        if content is None or isinstance(content, str):
            continue
        if not isinstance(content, list) or not all(isinstance(p, dict) for p in content):
            return "an array of messages, each with a 'content' that is a string, an array of objects or null"
    return None


def _prompt(value: Any) -> str | None:
    """Accepts a string, strings, token ids, or arrays of token ids."""
    if isinstance(value, str):
        return None
    if isinstance(value, list) and value:
        if all(isinstance(v, str) for v in value) or all(_whole(v) is None for v in value):
            return None
        if all(isinstance(v, list) and v and all(_whole(t) is None for t in v) for v in value):
            return None
    return "a string, an array of strings, or token ids"


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "model": _text,
    "messages": _messages,
    "prompt": _prompt,
    "stream": _boolean,
    "stream_options": _object,
    "temperature": _number,
    "top_p": _number,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "n": _count,
    "best_of": _count,
    "max_tokens": _count,
    "max_completion_tokens": _count,
    "top_logprobs": _whole,
    "seed": _whole,
    "stop": _text_or_texts,
    "tools": _objects,
    "functions": _objects,
    "tool_choice": _text_or_object,
    "parallel_tool_calls": _boolean,
    "response_format": _object,
    "logit_bias": _object,
    "metadata": _object,
    "user": _text,
    "dimensions": _count,
    "encoding_format": _text,
    "cache": _cache_wishes,
    "disable_fallbacks": _boolean,
    "fallbacks": _names,
    "num_retries": _retries,
    "timeout": _seconds,
}

_OF_THE_REST = {**CHECKS, "messages": lambda ordinary: None}


def _require(name: str) -> Callable[[dict[str, Any]], None]:
    def check(body: dict[str, Any]) -> None:
        if body.get(name) is None:
            raise invalid_request(f"'{name}' is missing.", param=name)

    return check


def _require_input(body: dict[str, Any]) -> None:
    wanted = _prompt(body.get("input"))
    if wanted:
        raise invalid_request(f"'input' has to be {wanted}.", param="input")


_REQUIRED: dict[str, Callable[[dict[str, Any]], None]] = {
    "chat_completions": _require("messages"),
    "completions": _require("prompt"),
    "embeddings": _require_input,
}
