"""Parses and validates the body of a request that takes a model: scans its messages, tidies the fields that LiteLLM's
clients send but providers reject, and checks the rest.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.core.api.errors import ApiError, invalid_request
from worker.core.pricing.quote import UNKNOWN_MAX_OUTPUT
from worker.core.values import claims
from worker.core.values.claims import NO_CLAIMS, Claims

from ..config.deployment import OUTPUT_LIMITS
from ..routing.router import RouteRequest
from .authority import DEARER, forbidden, refusal
from .stored_input import StoredInput

_PLAIN_ROLES = frozenset(("system", "user", "assistant"))
_OF_A_CALL = {"id", "type", "function"}
_OF_A_FUNCTION = {"name", "arguments"}
_IN_IDS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
_SIGNATURE = "__thought__"


@dataclass(slots=True)
class Conversation:
    """What a chat's messages contain.

    messages     the messages that were scanned
    ordinary     every message has a text or text parts, and besides its role only function calls or the id of the call
                 that it answers; the fields below are valid only if this is true
    plain        only texts of system, user and assistant, which every provider accepts
    developer    a message has the role `developer`
    listed       a content is a list
    unsaid       a message with calls has null content
    longest_id   length of the longest call id in characters, 0 without calls; None if an id is missing, empty, used
                 twice, contains `__thought__`, or has characters other than letters, digits, `_` and `-`
    names        names of the functions that are called and of those in `tools`; None if a tool has more than a function
                 and its type, or a cache marker
    tools        the request's tools; None in the same case
    """

    messages: list[Any]
    ordinary: bool = False
    plain: bool = False
    developer: bool = False
    listed: bool = False
    unsaid: bool = False
    longest_id: int | None = None
    names: set[str] | None = None
    tools: list[Any] | None = None


def look(body: Mapping[str, Any]) -> Conversation | None:
    """Scan the fields of a chat completion. Return None without a list of messages."""
    messages = body.get("messages")
    if type(messages) is not list or not messages:
        return None
    try:
        found = _look(messages)
        if found.ordinary and body.get("tools"):
            _look_at_tools(found, body["tools"])
    except (AttributeError, KeyError, TypeError):  # a field is missing or has another type
        return Conversation(messages)
    return found


def _look(messages: list[Any]) -> Conversation:
    found = Conversation(messages)
    calls: list[Any] = []
    results: list[Any] = []
    for message in messages:
        role, size = message["role"], len(message)
        if role == "tool":
            content = message["content"]
            results.append(message["tool_call_id"])
            if size != 3:
                return found
        elif size == 2 and "content" in message:
            content = message["content"]
            if role == "developer":
                found.developer = True
            elif role not in _PLAIN_ROLES:
                return found
            if not content:
                return found
        elif role == "assistant" and message["tool_calls"]:
            calls += message["tool_calls"]
            if size == 2:
                continue
            content = message["content"]
            if size != 3:
                return found
            if content is None:
                found.unsaid = True
                continue
        else:
            return found
        if type(content) is not str:
            if not _are_texts(content):
                return found
            found.listed = True
    if not (calls or results):
        found.ordinary, found.plain = True, not (found.developer or found.listed)
        found.longest_id, found.names = 0, set()
        return found
    functions = [call["function"] for call in calls]
    if calls and not (
        set().union(*functions) <= _OF_A_FUNCTION
        and set().union(*calls) == _OF_A_CALL
        and {call["type"] for call in calls} == {"function"}
    ):
        return found
    found.longest_id = _longest([call["id"] for call in calls], results)
    found.names = _texts([function["name"] for function in functions])
    found.ordinary = True
    return found


def _are_texts(parts: list[Any]) -> bool:
    if type(parts) is not list:
        return False
    return all(len(part) == 2 and part["type"] == "text" and type(part["text"]) is str for part in parts)


def _longest(ids: list[str], results: list[str]) -> int | None:
    found = set(ids)
    if len(found) != len(ids):
        return None
    found.update(results)
    joined = "".join(found)
    if "" in found or _SIGNATURE in joined or not joined.isascii() or joined.encode().translate(None, _IN_IDS):
        return None
    return max(map(len, found))


def _look_at_tools(found: Conversation, tools: Any) -> None:
    names: list[str] = []
    for tool in tools:
        function = tool["function"]
        if len(tool) != 2 or tool["type"] != "function" or "cache_control" in function:
            found.names = None
            return
        names.append(function["name"])
    found.tools = tools
    found.names = _texts(names) | (found.names or set())


def _texts(names: list[str]) -> set[str]:
    """Raises TypeError if a name is not a string."""
    "".join(names)
    return set(names)


LABELS = frozenset(
    "user metadata store safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options "
    "prompt_cache_isolation_key client_metadata session_id trace_id user_id extra_metadata".split()
)


# LiteLLM's labels. Its proxy trusts some of them, so the engine never sees them either.
_LABELS = "tags litellm_session_id litellm_trace_id litellm_metadata litellm_call_id id"
# Options of LiteLLM's clients. Leaving them out changes neither the response nor its price.
_WISHES = "caching drop_params max_retries request_timeout stream_timeout verbose"
TRACKING = frozenset(f"{_LABELS} {_WISHES}".split())
_TOOLS = ("tools", "functions")
_OF_TOOLS = ("tool_choice", "parallel_tool_calls", "function_call")
_NO_CHOICE = ("auto", "none")
_MAY_SAY_NOTHING = frozenset(("stop", "modalities", "reasoning_effort"))
# Every field that is checked by name, except output limits.
_TIDIED = TRACKING.union(_TOOLS, _OF_TOOLS, _MAY_SAY_NOTHING, ("stream_options", "user", "input"))


def drop_labels(body: dict[str, Any]) -> None:
    if not TRACKING.isdisjoint(body):
        for name in TRACKING:
            body.pop(name, None)


def tidy(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the request's fields as providers expect them. May change `body`.

    Raises ApiError 400 for an `input` that cannot be turned into messages.
    """
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    for name in OUTPUT_LIMITS.intersection(body):
        if _is_no_limit(body[name]):
            del body[name]
    return body if _TIDIED.isdisjoint(body) else _tidied(endpoint, body)


def _tidied(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    drop_labels(body)
    if "stream_options" in body and not body.get("stream"):
        del body["stream_options"]
    if "user" in body:
        name_user(body)
    if endpoint == "chat_completions":
        if "input" in body:
            body = chat_from_input(body)
        _tidy_tools(body)
    if not _MAY_SAY_NOTHING.isdisjoint(body):
        for name in _MAY_SAY_NOTHING.intersection(body):
            if body[name] in ("", []):
                del body[name]
    return body


def _is_no_limit(value: Any) -> bool:
    return type(value) in (int, float) and value <= 0


def name_user(body: dict[str, Any]) -> None:
    """Make `user` a string, as providers require."""
    if isinstance(body.get("user", ""), str):
        return
    user = body.pop("user")
    if isinstance(user, int | float) and not isinstance(user, bool):
        body["user"] = str(user)


def _tidy_tools(body: dict[str, Any]) -> None:
    for name in _TOOLS:
        if name in body and body[name] == []:
            del body[name]
    tools = body.get("tools")
    if isinstance(tools, list):
        if any("name" in tool for tool in tools if isinstance(tool, dict)):
            body["tools"] = [nested(tool) if _is_flat(tool) else tool for tool in tools]
    elif "functions" not in body:
        for name in _OF_TOOLS:  # providers reject a tool choice without tools
            if name in body and _chooses_nothing(name, body[name]):
                del body[name]


def _chooses_nothing(name: str, value: Any) -> bool:
    return isinstance(value, bool) if name == "parallel_tool_calls" else value in _NO_CHOICE


def _is_flat(tool: Any) -> bool:
    """Whether this is a function in the format of the Responses API."""
    return isinstance(tool, dict) and tool.get("type") == "function" and "function" not in tool and "name" in tool


def nested(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a function in the format of chat completions."""
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


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


# Chat completion requests that have the Responses API's `input` instead of `messages`, as Cursor's do.

Item = Mapping[str, Any]

TEXTS = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))
_LIMIT, _CHAT_LIMIT = "max_output_tokens", "max_completion_tokens"
# Fields of the Responses API that chat completions lack and that clients do not miss. Nothing is stored.
_LEFT_OUT = (
    "input", "messages", "instructions", "text", "reasoning", "include", "truncation", "store", "background",
    "max_tool_calls", _LIMIT,
)  # fmt: skip


def chat_from_input(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat completion. If `messages` are given, only drops `input`. Raises ApiError 400."""
    if body.get("messages"):
        return {name: value for name, value in body.items() if name != "input"}
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name):
            raise invalid_request(f"'{name}' is not supported: responses are not stored.", param=name)
    made = {name: value for name, value in body.items() if name not in _LEFT_OUT}
    made["messages"] = _messages_of_input(body.get("instructions"), body["input"])
    if isinstance(body.get("tools"), list):
        made["tools"] = [_tool(tool) for tool in body["tools"]]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom") and "name" in choice:
        made["tool_choice"] = {"type": choice["type"], choice["type"]: {"name": choice["name"]}}
    text, reasoning = body.get("text"), body.get("reasoning")
    if isinstance(text, dict):
        made.update(_text_of_part(text))
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        made.setdefault("reasoning_effort", reasoning["effort"])
    if body.get(_LIMIT) is not None:
        made.setdefault(_CHAT_LIMIT, body[_LIMIT])
    return made


def _messages_of_input(instructions: Any, given: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if isinstance(instructions, str) and instructions:
        made.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*made, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise _unreadable()
    for item in given:
        _add(made, item)
    return made


def _add(made: list[dict[str, Any]], item: Item) -> None:
    """Append a message or a result, or add a call to the preceding assistant message."""
    kind = item.get("type") or "message"
    if kind == "message":
        if not isinstance(item.get("role"), str):
            raise _unreadable()
        made.append({"role": item["role"], "content": _content(item.get("content"))})
    elif kind in ("function_call", "custom_tool_call"):
        call = _call(kind, item)
        if made and made[-1]["role"] == "assistant":
            made[-1] = {**made[-1], "tool_calls": [*made[-1].get("tool_calls", ()), call]}
        else:
            made.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind in ("function_call_output", "custom_tool_call_output"):
        made.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output"))})
    elif kind == "item_reference":
        raise invalid_request("An 'item_reference' refers to a stored item, but nothing is stored here.", param="input")
    # Reasoning and the results of a provider's own tools are useless to another model.


def _call(kind: str, item: Item) -> dict[str, Any]:
    if kind == "custom_tool_call":
        custom = {"name": item.get("name"), "input": item.get("input") or ""}
        return {"id": item.get("call_id"), "type": "custom", "custom": custom}
    function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _content(given: Any) -> Any:
    """Return text or content parts. Text parts are joined."""
    if not isinstance(given, list):
        return given
    parts = [_part(part) for part in given if isinstance(part, dict)]
    if all(part.get("type") == "text" for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts


def text_or_image(part: Item) -> dict[str, Any] | None:
    """Translate a text, a refusal or an image; return None for any other part."""
    kind = part.get("type")
    if kind in TEXTS:
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        picture, detail = {"url": part["image_url"]}, part.get("detail")
        return {"type": "image_url", "image_url": {**picture, "detail": detail} if detail else picture}
    return None


def _part(part: Item) -> dict[str, Any]:
    found = text_or_image(part)
    if found is not None:
        return found
    if part.get("type") == "input_file":
        return {
            "type": "file",
            "file": {name: part[name] for name in _present(part, "filename", "file_data", "file_id")},
        }
    return dict(part)


def _present(part: Item, *names: str) -> Iterable[str]:
    return (name for name in names if part.get(name))


def _tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "custom" and "custom" not in tool:
        return {"type": "custom", "custom": {name: value for name, value in tool.items() if name != "type"}}
    return tool  # every provider accepts flat functions


def _text_of_part(text: Item) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if text.get("verbosity"):
        made["verbosity"] = text["verbosity"]
    wanted = text.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type"}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(wanted, dict) and wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}
    return made


def _unreadable() -> ApiError:
    return invalid_request("'input' has to be a string or an array of messages and other items.", param="input")
