"""Describes a request of Gemini's API in the terms of a chat or an embedding, which `quote` and `estimate` bound.

The result holds at least the text, images and other content of the request that is sent, whether Gemini gets it as it
is or another model gets it as a chat. It is not a chat itself: roles are approximate and data is left out.

Google accepts every field in camelCase and in snake_case. https://ai.google.dev/api/generate-content
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .prices import GOOGLES_COUNT, GOOGLES_EMBEDDINGS

_FUNCTIONS = ("functionDeclarations", "function_declarations")
# Parts that are replaced by a note where the model cannot read them.
LEFT_OUT = "[left out: {kind}]"
_NO_PARAMETERS = {"type": "object", "properties": {}}
_READ = frozenset(
    "contents systemInstruction system_instruction tools toolConfig tool_config generationConfig generation_config "
    "safetySettings safety_settings serviceTier service_tier model metadata".split()
)


def terms(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that determine the price. `endpoint`: one of `prices.GOOGLE`.

    Raises AttributeError, KeyError, TypeError or ValueError for a body that is invalid at a place that is read here.
    """
    if endpoint in GOOGLES_EMBEDDINGS:
        return _embedding(body["requests"] if endpoint == "batch_embed_contents" else [body])
    if endpoint == GOOGLES_COUNT:
        body = _of(body, "generateContentRequest", "generate_content_request") or body
    return _chat(body)


def call_id(number: int) -> str:
    """The id of a call that Gemini's client has given none. The same conversation always gets the same ids, so that
    prompt caches remain valid."""
    return f"call_{number}"


def _chat(body: Mapping[str, Any]) -> dict[str, Any]:
    system = _of(body, "systemInstruction", "system_instruction")
    messages = [_message(system, [], [])] if system else []
    for content in body["contents"]:
        results: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        messages.append(_message(content, calls, results))
        messages += results
        if calls:
            messages[-1]["tool_calls"] = calls
    made: dict[str, Any] = {"messages": messages}
    tools = [one for tool in _of(body, "tools") or () for one in _tools(tool)]
    if tools:
        made["tools"] = tools
    choice = _of(body, "toolConfig", "tool_config")
    if choice:
        made["tool_choice"] = {"type": "function", "function": {"name": json.dumps(choice)}}
    generation = _of(body, "generationConfig", "generation_config") or {}
    made.update(_of_generation(generation))
    tier = _of(body, "serviceTier", "service_tier")
    if tier is not None:
        made["service_tier"] = tier
    rest = {name: value for name, value in body.items() if name not in _READ}
    if rest:
        made["rest"] = rest
    return made


def _of_generation(generation: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    limit = _most(generation, "maxOutputTokens", "max_output_tokens")
    if limit:
        made["max_tokens"] = limit
    candidates = _most(generation, "candidateCount", "candidate_count")
    if candidates:
        made["n"] = candidates
    for names in (("responseSchema", "response_schema"), ("responseJsonSchema", "response_json_schema")):
        schema = _of(generation, *names)
        if schema is not None:
            described = {"name": "answer", "schema": schema}
            made[f"response_format_{names[0]}"] = {"type": "json_schema", "json_schema": described}
    thinking = _of(generation, "thinkingConfig", "thinking_config")
    if thinking:
        off = _of(thinking, "thinkingBudget", "thinking_budget") == 0
        made["thinking"] = {"type": "disabled"} if off else thinking
    return made


def _message(content: Mapping[str, Any], calls: list[Any], results: list[Any]) -> dict[str, Any]:
    """`calls` and `results` receive the function calls and the messages with their results."""
    parts: list[dict[str, Any]] = []
    for part in content.get("parts") or ():
        for name, value in part.items():
            if value is None or value is False:
                continue
            if name in ("inlineData", "inline_data"):
                parts += _blob(value)
            elif name in ("fileData", "file_data"):
                parts += [_note("fileData"), {"type": "fileData", "fileData": True}]
            elif name in ("functionCall", "function_call"):
                calls.append(_call(value, len(calls)))
            elif name in ("functionResponse", "function_response"):
                results.append(_result(value))
                attached = [{"parts": [one]} for one in value.get("parts") or ()]
                results += [_message(one, [], []) for one in attached]
            elif isinstance(value, str):
                parts.append({"type": "text", "text": value})
            else:
                parts.append({"type": "text", "text": json.dumps(value, ensure_ascii=False)})
    return {"role": content.get("role") or "user", "content": parts}


def _blob(blob: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    kind = _of(blob, "mimeType", "mime_type")
    if isinstance(kind, str) and kind.startswith("image/"):
        return [_note("inlineData"), {"type": "image_url", "image_url": {"url": "data:image/"}}]
    return [_note("inlineData"), {"type": "inlineData", "inlineData": True}]


def _note(kind: str) -> dict[str, Any]:
    return {"type": "text", "text": LEFT_OUT.format(kind=kind)}


def _call(call: Mapping[str, Any], number: int) -> dict[str, Any]:
    arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
    id = f"{call.get('id') or ''} {call_id(1000 + number)}"
    return {"id": id, "type": "function", "function": {"name": call.get("name"), "arguments": arguments}}


def _result(answer: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in answer.items() if name not in ("id", "parts")}
    id = f"{answer.get('id') or ''} {call_id(1000)}"
    return {"role": "tool", "tool_call_id": id, "content": json.dumps(said, ensure_ascii=False)}


def _tools(tool: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Functions as those of a chat. Google's own tools keep their form, which marks them as run by the provider."""
    made: list[dict[str, Any]] = []
    for name, value in tool.items():
        if name not in _FUNCTIONS:
            made += [] if value is None else [{name: value}]
            continue
        for function in value or ():
            made.append({"type": "function", "function": {"parameters": _NO_PARAMETERS, **function}})
    return made


def _embedding(requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    texts: list[str] = []
    others: list[dict[str, Any]] = []
    for request in requests:
        message = _message(request["content"], [], [])
        texts.append("\n".join(part["text"] for part in message["content"] if part["type"] == "text"))
        others += [part for part in message["content"] if part["type"] != "text"]
        rest = {name: value for name, value in request.items() if name not in ("content", "model")}
        if rest:
            texts[-1] += json.dumps(rest, ensure_ascii=False)
    return {"input": texts, **({"messages": [{"role": "user", "content": others}]} if others else {})}


def _of(fields: Mapping[str, Any], *names: str) -> Any:
    """Returns the value under the first of the names that has one."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _most(fields: Mapping[str, Any], *names: str) -> int:
    """Returns the largest count under the names, 0 without one. The proxy refuses a field that is given twice."""
    found = (fields.get(name) for name in names)
    return max((n for n in found if isinstance(n, int) and not isinstance(n, bool)), default=0)
