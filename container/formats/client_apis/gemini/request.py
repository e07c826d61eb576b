"""Translates a request of Gemini's API to a chat completion, for other models.

Hints for Google (safety settings, labels, media resolution) are dropped, and so are sampling fields that the model does
not take. Other fields that change the result are refused.
https://ai.google.dev/api/generate-content#request-body
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from worker.core.pricing.generate_content import LEFT_OUT, call_id

from ....config.deployment import Deployment
from ...anthropic.models import traits
from ...shared import reasoning
from ...shared.capabilities import capabilities
from ...shared.tool_identifiers import SIGNATURE_MARK
from ...shared.wire import Malformed, Unsupported

Fields = Mapping[str, Any]

# Fields of `generationConfig` with the same meaning in a chat.
_SAME = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
}
_READ = frozenset(
    "stopSequences maxOutputTokens candidateCount logprobs responseMimeType responseSchema responseJsonSchema "
    "responseModalities thinkingConfig".split()
)
SAMPLING = ("temperature", "top_p", "top_k")
# Fields that matter to Google's models only.
_HINTS = frozenset(
    "mediaResolution speechConfig audioTimestamp enableEnhancedCivicAnswers routingConfig modelSelectionConfig "
    "enableAffectiveDialog".split()
)
_TIERS = {"standard": "default", "SERVICE_TIER_STANDARD": "default", "flex": "flex", "priority": "priority"}
_JSON = "application/json"
_TEXT = "text/plain"
_MODES = {"AUTO": "auto", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_LEVELS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def chat(body: Fields, d: Deployment, model: str, *, drop_params: bool) -> dict[str, Any]:
    """Translates the fields. Raises Unsupported and Malformed."""
    generation: Fields = body.get("generationConfig") or {}
    made: dict[str, Any] = {"messages": messages(body["contents"], body.get("systemInstruction"), lenient=drop_params)}
    for name, value in generation.items():
        if name in _SAME:
            made[_SAME[name]] = value
        elif name not in _READ and name not in _HINTS and not drop_params:
            raise Unsupported(name, f"'{name}' needs a Gemini model.")
    if generation.get("stopSequences"):
        made["stop"] = generation["stopSequences"]
    if generation.get("maxOutputTokens"):
        made["max_tokens"] = generation["maxOutputTokens"]
    if (generation.get("candidateCount") or 1) > 1:
        made["n"] = generation["candidateCount"]
    if generation.get("logprobs") and made.get("logprobs"):
        made["top_logprobs"] = generation["logprobs"]
    if not drop_params and any(str(m).upper() != "TEXT" for m in generation.get("responseModalities") or ()):
        raise Unsupported("responseModalities", "This model answers with text only.")
    made.update(_format(generation, drop_params))
    made.update(_tools(body, drop_params))
    made.update(_thinking(generation.get("thinkingConfig"), d, model))
    for name in _refused(made, d, model):
        made.pop(name, None)
    tier = body.get("serviceTier")
    if tier is not None:
        made["service_tier"] = _TIERS.get(tier, tier)
    return made


def _refused(made: Fields, d: Deployment, model: str) -> Iterable[str]:
    """The sampling fields that the model does not take. Gemini's clients send Google's usual values to every model, so
    they are hints.
    """
    if d.format == "anthropic" or "claude" in model:
        if not traits(model).sampling:
            return SAMPLING
        return ("top_p",) if "temperature" in made else ()  # newer models refuse both together
    can = capabilities(d, model)
    refused = [name for name in SAMPLING if name in can.refused or name not in (can.accepted or SAMPLING)]
    if can.samples == "never" or (can.samples == "unless_reasoning" and made.get("reasoning_effort") != "none"):
        refused += ["temperature", "top_p"]
    return [*refused, "top_k"] if d.provider in ("openai", "azure") else refused


def _format(generation: Fields, drop_params: bool) -> dict[str, Any]:
    kind = generation.get("responseMimeType") or ""
    schema = generation.get("responseJsonSchema")
    if schema is None and generation.get("responseSchema"):
        schema = json_schema(generation["responseSchema"], "generationConfig.responseSchema")
    if kind == _JSON or (not kind and schema):
        if not schema:
            return {"response_format": {"type": "json_object"}}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}
    if kind not in ("", _TEXT) and not drop_params:
        raise Unsupported("responseMimeType", f"This model cannot answer with '{kind[:100]}'.")
    return {}


def _tools(body: Fields, drop_params: bool) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in body.get("tools") or ():
        for name in tool:
            if name != "functionDeclarations" and not drop_params:
                raise Unsupported("tools", f"The tool '{name[:100]}' needs a Gemini model.")
        tools += [_function(function) for function in tool.get("functionDeclarations") or ()]
    config: Fields = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = (config.get("mode") or "").upper(), config.get("allowedFunctionNames")
    if mode == "ANY" and allowed:
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
        if not tools:
            raise Malformed("toolConfig", "None of the 'allowedFunctionNames' is the name of a function.")
    if not tools:
        return {}
    if not mode:
        return {"tools": tools}
    if mode in _MODES:
        return {"tools": tools, "tool_choice": _MODES[mode]}
    if mode != "ANY":
        raise Malformed("toolConfig.functionCallingConfig.mode", "The 'mode' has to be AUTO, ANY, NONE or VALIDATED.")
    if allowed and len(tools) == 1:
        return {"tools": tools, "tool_choice": {"type": "function", "function": {"name": tools[0]["function"]["name"]}}}
    return {"tools": tools, "tool_choice": "required"}


def _function(declared: Fields) -> dict[str, Any]:
    if not declared.get("name"):
        raise Malformed("tools", "A function declaration has no 'name'.")
    parameters = declared.get("parametersJsonSchema")
    if parameters is None:
        parameters = json_schema(declared.get("parameters") or {}, "tools")
    function = {"name": declared["name"], "parameters": parameters or {"type": "object", "properties": {}}}
    if declared.get("description"):
        function["description"] = declared["description"]
    return {"type": "function", "function": function}


def _thinking(config: Fields | None, d: Deployment, model: str) -> dict[str, Any]:
    """An effort, if the model can reason. Gemini's clients send the configuration to every model."""
    level = _level(config or {})
    known = capabilities(d, model).efforts
    if level is None or known == frozenset():
        return {}
    if known is None and d.format == "openai":
        # An unknown server may not accept other levels.
        return {} if level == "none" else {"reasoning_effort": reasoning.nearest(level, ("low", "medium", "high"))}
    return {"reasoning_effort": level}


def _level(config: Fields) -> str | None:
    """The effort that corresponds to a level or a budget of tokens. A budget of -1 leaves it to the model."""
    level = _LEVELS.get((config.get("thinkingLevel") or "").upper())
    if level is not None:
        return level
    budget = config.get("thinkingBudget")
    if budget is not None and budget >= 0:
        return reasoning.of_budget(budget) if budget else "none"
    return "medium" if budget is not None or config.get("includeThoughts") else None


# The conversation. A turn of the model becomes an assistant message; results of functions become messages of their own,
# which come first in a user's turn. Google's calls need no ids: a result belongs to the first open call with its id,
# else with its name. https://ai.google.dev/api/caching#Content

Part = Mapping[str, Any]
Message = dict[str, Any]

_SOUNDS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
_DOCUMENT = "application/pdf"
# The only field of a result whose value is all that it says.
_OUTPUTS = ("output", "result")
# Files at Google, which only Google can read.
_GOOGLES = ("https://generativelanguage.googleapis.com/", "https://www.youtube.com/", "https://youtu.be/")


def messages(
    contents: Sequence[Mapping[str, Any]], system: Mapping[str, Any] | None, *, lenient: bool
) -> list[Message]:
    """`lenient` replaces parts that a chat does not have with a note. In earlier turns this always happens, because
    refusing them would block the rest of the conversation. Raises Malformed and Unsupported.
    """
    made: list[Message] = []
    if system:
        text = "\n\n".join(part["text"] for part in _parts(system) if part.get("text"))
        if text:
            made.append({"role": "system", "content": text})
    calls = _Calls()
    last = len(contents) - 1
    for index, content in enumerate(contents):
        role = content.get("role") or "user"
        if role == "model":
            made += _assistant(_parts(content), calls)
        elif role in ("user", "function", "tool"):
            made += _user(_parts(content), calls, lenient=lenient or index < last)
        else:
            raise Malformed("contents.role", "The 'role' of a content has to be user or model.")
    return made


class _Calls:
    """The function calls of a conversation that have no result yet: their ids and names."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._used: set[str] = set()
        self._number = 0

    def add(self, given: str | None, name: str) -> str:
        id = given or ""
        while not id or id in self._used:
            self._number += 1
            id = call_id(self._number)
        self._used.add(id)
        self._open.append((id, name))
        return id

    def result(self, given: str | None, name: str | None) -> str:
        """The id of the call that a result answers. Raises Malformed."""
        for at, (id, called) in enumerate(self._open):
            if id == given if given and given in self._used else called == name:
                del self._open[at]
                return id
        raise Malformed("contents", f"No function call before the result of '{str(name)[:100]}' is without a result.")


def _parts(content: Mapping[str, Any]) -> list[Part]:
    return content.get("parts") or []


def _assistant(parts: Iterable[Part], calls: _Calls) -> list[Message]:
    texts: list[str] = []
    thoughts: list[str] = []
    made: list[dict[str, Any]] = []
    signed: list[dict[str, Any]] = []
    for part in parts:
        signature = part.get("thoughtSignature")
        carried = signed_blocks(signature) if signature else None
        signed = signed or carried or []
        if "functionCall" in part:
            made.append(_call(part["functionCall"], calls, None if carried is not None else signature))
        elif part.get("thought"):
            thoughts.append(part.get("text") or "")
        elif part.get("text"):
            texts.append(part["text"])
        else:
            texts += _noted(part)
    message: Message = {"role": "assistant", "content": "".join(texts) or (None if made else "")}
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if signed:
        message["thinking_blocks"] = signed
    if made:
        message["tool_calls"] = made
    return [message]


def _call(call: Mapping[str, Any], calls: _Calls, signature: str | None) -> dict[str, Any]:
    name = call.get("name")
    if not name:
        raise Malformed("contents", "A 'functionCall' has no 'name'.")
    id = calls.add(call.get("id"), name)
    arguments = orjson.dumps(call.get("args") or {}).decode()
    mark = f"{SIGNATURE_MARK}{signature}" if signature else ""
    return {"id": id + mark, "type": "function", "function": {"name": name, "arguments": arguments}}


def _user(parts: Iterable[Part], calls: _Calls, *, lenient: bool) -> list[Message]:
    results: list[Message] = []
    said: list[dict[str, Any]] = []
    for part in parts:
        answer = part.get("functionResponse")
        if answer is None:
            said += _said(part, lenient=lenient)
            continue
        id = calls.result(answer.get("id"), answer.get("name"))
        results.append({"role": "tool", "tool_call_id": id, "content": _result(answer.get("response") or {})})
        for attached in answer.get("parts") or ():
            said += _said(attached, lenient=lenient)
    if not said:
        return results
    only = said[0]["text"] if len(said) == 1 and said[0]["type"] == "text" else said
    return [*results, {"role": "user", "content": only}]


def _result(response: Mapping[str, Any]) -> str:
    for name in _OUTPUTS:
        if len(response) == 1 and isinstance(response.get(name), str):
            return response[name]
    return orjson.dumps(response).decode()


def _said(part: Part, *, lenient: bool) -> list[dict[str, Any]]:
    """A user's part. An empty text is nothing, which chats refuse."""
    if "text" in part:
        return [{"type": "text", "text": part["text"]}] if part["text"] else []
    made = _blob(part["inlineData"]) if "inlineData" in part else _file(part.get("fileData") or {})
    if made is not None:
        return [made]
    if not lenient and ("inlineData" in part or "fileData" in part):
        kind = (part.get("inlineData") or part.get("fileData") or {}).get("mimeType")
        raise Unsupported("contents", f"This content of the type '{str(kind)[:100]}' needs a Gemini model.")
    return [{"type": "text", "text": text} for text in _noted(part)]


def _blob(blob: Mapping[str, Any]) -> dict[str, Any] | None:
    kind, data = blob.get("mimeType") or "", blob.get("data") or ""
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind in _SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _SOUNDS[kind]}}
    if kind == _DOCUMENT:
        return {"type": "file", "file": {"filename": blob.get("displayName") or "document.pdf", "file_data": url}}
    if kind.startswith("text/"):
        try:
            return {"type": "text", "text": base64.b64decode(data).decode()}
        except (binascii.Error, ValueError):
            raise Malformed("contents", "The 'data' of a text has to be UTF-8 in base64.") from None
    return None


def _file(file: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image at an address. Providers do not fetch other content for a chat."""
    address, kind = file.get("fileUri") or "", file.get("mimeType") or ""
    if not kind.startswith("image/") or not address.startswith("https://") or address.startswith(_GOOGLES):
        return None
    return {"type": "image_url", "image_url": {"url": address}}


def _noted(part: Part) -> list[str]:
    """What remains of a part that a chat does not have: the text of executed code, else a note."""
    code, output = part.get("executableCode"), part.get("codeExecutionResult")
    for holder, name in ((code, "code"), (output, "output")):
        if isinstance(holder, dict):
            return [str(holder[name])] if holder.get(name) else []
    return [LEFT_OUT.format(kind=name) for name in ("inlineData", "fileData") if name in part]


# Google's schemas are a dialect of OpenAPI's, and become JSON Schema. Google writes types in capitals, numbers of items
# as strings, and `nullable` beside the type. Clients may use snake_case. https://ai.google.dev/api/caching#Schema

MAX_DEPTH = 100

_NAMES = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "defs": "$defs",
    "ref": "$ref",
}
_NUMBERS = frozenset("maxItems maxLength maxProperties minItems minLength minProperties".split())
# Fields that JSON Schema lacks, or that only Google understands.
_ONLY_GOOGLES = frozenset(("nullable", "propertyOrdering", "property_ordering", "example"))
_MAPS = ("properties", "$defs")
# `format: enum` says nothing beyond `enum`.
_ENUM = "enum"


def json_schema(schema: Mapping[str, Any], param: str) -> dict[str, Any]:
    """`param` is the field that is at fault for a schema that is nested too deeply. Raises Malformed."""
    return _node(schema, param, 0)


def _node(schema: Mapping[str, Any], param: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise Malformed(param, f"A schema in '{param}' is nested too deeply.")
    made: dict[str, Any] = {}
    for given, value in schema.items():
        name = _NAMES.get(given, given)
        if name in _ONLY_GOOGLES or value is None or (name == "format" and value == _ENUM):
            continue
        if name == "type":
            if value != "TYPE_UNSPECIFIED":
                made[name] = _type(value)
        elif name in _MAPS and isinstance(value, dict):
            made[name] = {key: _any(one, param, depth) for key, one in value.items()}
        elif name == "anyOf" and isinstance(value, list):
            made[name] = [_any(one, param, depth) for one in value]
        elif name in ("items", "additionalProperties"):
            made[name] = _any(value, param, depth)
        elif name in _NUMBERS and isinstance(value, str) and value.isdecimal():
            made[name] = int(value)
        else:
            made[name] = value
    return _nullable(made) if schema.get("nullable") is True else made


def _any(value: Any, param: str, depth: int) -> Any:
    """A nested schema. Other values stay: JSON Schema has booleans as schemas, too."""
    return _node(value, param, depth + 1) if isinstance(value, dict) else value


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(one) for one in value]
    return value.lower() if isinstance(value, str) else value


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    if isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    elif isinstance(made.get("anyOf"), list):
        made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    return made


# Gemini's clients send the `thoughtSignature` of a part back with the part, most of all that of a function call. What
# another provider needs back with a call, such as Claude's thinking blocks, travels there.

_OURS = b"litellm-router:"


def sealed_signature(blocks: list[dict[str, Any]]) -> str:
    """The signature that carries Claude's thinking blocks."""
    return base64.b64encode(_OURS + orjson.dumps(blocks)).decode()


def signed_blocks(signature: str) -> list[dict[str, Any]] | None:
    """The blocks that the signature carries. None for a signature of Gemini itself."""
    try:
        data = base64.b64decode(signature, altchars=b"-_" if "-" in signature or "_" in signature else None)
    except (binascii.Error, ValueError):
        return None
    if not data.startswith(_OURS):
        return None
    try:
        found = orjson.loads(data.removeprefix(_OURS))
    except orjson.JSONDecodeError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
