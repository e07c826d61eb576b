"""Translates a chat completion request to OpenAI's Responses API, with messages as input items.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ...request.client_apis import ENCRYPTED_REASONING
from ..shared.fit import missed
from ..shared.reasoning import nearest
from ..shared.wire import Malformed, Unsupported

Item = dict[str, Any]

# Part types of the Responses API itself, which are passed unchanged.
_OWN_ITEMS = frozenset(("input_text", "input_image", "input_file", "output_text", "refusal"))
_SAYS = frozenset(("user", "system", "developer"))


def items(messages: Iterable[Mapping[str, Any]]) -> tuple[str | None, list[Item]]:
    """Translates messages to instructions and input items.

    Raises Malformed and Unsupported, and AttributeError, KeyError or TypeError for values of unexpected types.
    """
    messages = list(messages)
    instructions: list[str] = []
    for message in messages:
        text = _plain_text(message.get("content")) if message.get("role") == "system" else None
        if text is None:
            break
        instructions.append(text)
    made: list[Item] = []
    rest = messages[len(instructions) :]
    if not rest:  # the API refuses an empty input
        made = [_said("system", text) for text in instructions]
        instructions = []
    custom = _custom_calls(rest)
    for message in rest:
        made += _items(message, custom)
    return "\n\n".join(filter(None, instructions)) or None, made


def _items(message: Mapping[str, Any], custom: frozenset[str]) -> list[Item]:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        id = message["tool_call_id"]
        kind = "custom_tool_call_output" if id in custom else "function_call_output"
        return [{"type": kind, "call_id": id, "output": _output(content)}]
    if role == "assistant":
        return _assistant(message)
    if role not in _SAYS:
        raise Unsupported("messages", f"This model does not support messages with the role '{role}'.")
    return [] if content is None else [_said(str(role), content)]


def _assistant(message: Mapping[str, Any]) -> list[Item]:
    made = _reasoning_items(message)
    parts = _parts(message.get("content"), "output_text")
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    calls = message.get("tool_calls") or ()
    if parts and not (calls and message.get("content") == ""):
        made.append({"type": "message", "role": "assistant", "content": parts})
    return made + [_call(call) for call in calls]


def _reasoning_items(message: Mapping[str, Any]) -> list[Item]:
    """The reasoning of an earlier response. Without encrypted content, the API would look up the item, but nothing is
    stored.
    """
    return [
        {
            "type": "reasoning",
            **({"id": item["id"]} if item.get("id") else {}),
            "summary": item.get("summary") or [],
            "encrypted_content": item["encrypted_content"],
        }
        for item in message.get("reasoning_items") or ()
        if isinstance(item, dict) and item.get("encrypted_content")
    ]


def _call(call: Mapping[str, Any]) -> Item:
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {"type": "custom_tool_call", "call_id": call["id"], "name": custom["name"], "input": custom["input"]}
    function = call["function"]
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments or {}).decode()
    return {"type": "function_call", "call_id": call["id"], "name": function["name"], "arguments": arguments}


def _custom_calls(messages: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of custom tool calls, whose results have a different item type."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    return frozenset(str(call.get("id")) for call in calls if isinstance(call.get("custom"), dict))


def _said(role: str, content: Any) -> Item:
    return {"type": "message", "role": role, "content": _parts(content, "input_text")}


def _output(content: Any) -> str | list[Item]:
    """Translates a tool result: a string, or parts if it contains images or files."""
    if content is None or isinstance(content, str):
        return content or ""
    text = _plain_text(content)
    return _parts(content, "input_text") if text is None else text


def _plain_text(content: Any) -> str | None:
    """The text of content that contains nothing else, or None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or any(part.get("type") != "text" for part in content):
        return None
    return "\n".join(str(part.get("text") or "") for part in content)


def _parts(content: Any, text_type: str) -> list[Item]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": text_type, "text": content}]
    return [_part(part, text_type) for part in content]


def _part(part: Mapping[str, Any], text_type: str) -> Item:
    kind = part.get("type")
    if kind == "text":
        return {"type": text_type, "text": str(part.get("text") or "")}
    if kind == "image_url":
        return _image(part.get("image_url"))
    if kind == "file":
        file = part["file"]
        return {"type": "input_file", **{n: file[n] for n in ("file_id", "file_data", "filename") if file.get(n)}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind in _OWN_ITEMS:
        return {name: value for name, value in part.items() if name != "cache_control"}
    raise Unsupported("messages", f"This model does not support parts of the type '{kind}'.")


def _image(given: Any) -> Item:
    image = given if isinstance(given, dict) else {"url": given}
    if not isinstance(image.get("url"), str):
        raise Malformed("messages", "An 'image_url' has no 'url'.")
    return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail") or "auto"}


Fields = Mapping[str, Any]

# Fields that have the same name in both APIs.
_SAME = frozenset(
    "temperature top_p parallel_tool_calls stream top_logprobs service_tier safety_identifier prompt_cache_key "
    "prompt_cache_retention prompt_cache_options".split()
)
# Responses API fields that the config may preset.
_ITS_OWN = frozenset("text truncation max_tool_calls include context_management".split())
# Fields that are translated, expressed differently, or not needed. Nothing is stored, so metadata is not needed.
_READ = frozenset(
    "model messages tools tool_choice response_format reasoning_effort reasoning reasoning_summary reasoningSummary "
    "verbosity max_tokens max_completion_tokens logprobs user stream_options store metadata seed".split()
)
# Values without effect of fields that have no equivalent.
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "function_call": ("none", "auto"),
}
_EMPTY = (None, False, "", [], {})
_LONGEST_USER = 64
_LOGPROBS = "message.output_text.logprobs"


def translate(
    fields: Fields,
    presets: Fields,
    *,
    efforts: frozenset[str] | None,
    limit: int | None,
    encrypted: bool,
    drop_params: bool,
) -> dict[str, Any]:
    """Builds the body, without `model`.

    `fields` are the client's fields merged over the deployment's `presets`. `efforts` are the levels that the model
    accepts, or None for all. `limit` is the output limit in tokens. `encrypted` requests encrypted reasoning, because
    nothing is stored. Raises Unsupported and Malformed.
    """
    _refuse_others(fields, presets, drop_params=drop_params)
    instructions, given = items(fields["messages"])
    made: dict[str, Any] = {"input": given}
    if instructions:
        made["instructions"] = instructions
    made.update({name: fields[name] for name in _SAME | _ITS_OWN if fields.get(name) is not None})
    made["store"] = False
    if limit is not None:
        made["max_output_tokens"] = limit
    tools = [_tool(tool, drop_params=drop_params) for tool in fields.get("tools") or ()]
    tools = [tool for tool in tools if tool is not None]
    if tools:
        made["tools"] = tools
        if fields.get("tool_choice") is not None:
            made["tool_choice"] = _choice(fields["tool_choice"])
    else:
        made.pop("parallel_tool_calls", None)
    text = _text(fields)
    if text:
        made["text"] = {**(made.get("text") or {}), **text}
    reasoning = _reasoning(fields, efforts)
    if reasoning:
        made["reasoning"] = reasoning
    include: list[Any] = list(made.get("include") or ())
    if encrypted:
        include.append(ENCRYPTED_REASONING)
    if fields.get("logprobs"):
        include.append(_LOGPROBS)
    if include:
        made["include"] = list(dict.fromkeys(include))
    if isinstance(fields.get("user"), str):
        made["user"] = fields["user"][:_LONGEST_USER]
    options = fields.get("stream_options")
    if fields.get("stream") and isinstance(options, dict) and options.get("include_obfuscation") is not None:
        made["stream_options"] = {"include_obfuscation": options["include_obfuscation"]}
    return made


def _refuse_others(fields: Fields, presets: Fields, *, drop_params: bool) -> None:
    """Raises Unsupported for a field whose loss would matter."""
    if drop_params:
        return
    for name, value in fields.items():
        if name in _SAME or name in _READ or value in _EMPTY or value in _NOTHING.get(name, ()):
            continue
        if name not in presets and missed(name, value):
            raise Unsupported(name, f"This model does not support '{name}'.")


def _tool(tool: Fields, *, drop_params: bool) -> dict[str, Any] | None:
    """Translates a tool, or returns None if it is dropped. Functions are strict by default here, but not in chat."""
    kind = tool.get("type")
    function, custom = tool.get("function"), tool.get("custom")
    if kind == "function":
        function = function if isinstance(function, dict) else tool
        made: dict[str, Any] = {
            "type": "function",
            "name": function["name"],
            "parameters": function.get("parameters") or {"type": "object", "properties": {}},
            "strict": bool(function.get("strict")),
        }
        return {**made, "description": function["description"]} if function.get("description") else made
    if kind == "custom" and isinstance(custom, dict):
        made = {"type": "custom", "name": custom["name"]}
        if custom.get("description"):
            made["description"] = custom["description"]
        if custom.get("format"):
            made["format"] = _grammar(custom["format"])
        return made
    if drop_params:
        return None
    # Tools that the provider runs are billed separately.
    raise Unsupported("tools", "The 'type' of a tool has to be 'function' or 'custom'.")


def _grammar(given: Fields) -> dict[str, Any]:
    grammar = given.get("grammar")
    return {"type": "grammar", **grammar} if isinstance(grammar, dict) else dict(given)


def _choice(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    kind = given.get("type")
    if kind in ("auto", "none", "required"):
        return kind
    if kind == "allowed_tools":
        allowed = given.get("allowed_tools") or given
        tools = [_choice(tool) for tool in allowed.get("tools") or ()]
        return {"type": kind, "mode": allowed.get("mode") or "auto", "tools": tools}
    inner = given.get(str(kind))
    return {"type": kind, "name": inner["name"]} if isinstance(inner, dict) else given


def _text(fields: Fields) -> dict[str, Any]:
    made: dict[str, Any] = {}
    given = fields.get("response_format")
    if isinstance(given, dict) and given.get("type"):
        kind = given["type"]
        made["format"] = {"type": kind}
        if kind == "json_schema":
            schema = given.get("json_schema") or {}
            made["format"] = {
                "type": kind,
                "name": schema.get("name") or "response_schema",
                "schema": schema.get("schema") or {},
                "strict": bool(schema.get("strict")),
            }
            if schema.get("description"):
                made["format"]["description"] = schema["description"]
    if fields.get("verbosity") is not None:
        made["verbosity"] = fields["verbosity"]
    return made


def _reasoning(fields: Fields, efforts: frozenset[str] | None) -> dict[str, Any]:
    """The effort, and a summary if requested. OpenAI returns summaries only to verified organizations."""
    given, effort = fields.get("reasoning"), fields.get("reasoning_effort")
    made = dict(given) if isinstance(given, dict) else {}
    if isinstance(effort, dict):
        made.update(effort)
    elif effort is not None:
        made["effort"] = effort
    if isinstance(made.get("effort"), str):
        made["effort"] = nearest(made["effort"], efforts)
    summary = fields.get("reasoning_summary") or fields.get("reasoningSummary")
    if summary:
        made["summary"] = summary
    return {name: value for name, value in made.items() if value is not None}
