"""Request fields of Anthropic's Messages API, and their translation to chat completions for other models.

Claude refuses unknown fields and nulls, which some clients send. A test compares the fields with Anthropic's SDK.
https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai

In the translation, hints for Claude (cache markers, context management, betas) are dropped. Fields that change the
result are refused.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ....config.deployment import Deployment
from ...shared import fit, reasoning
from ...shared.capabilities import capabilities
from ...shared.wire import Malformed, Unsupported

ANTHROPIC = frozenset(
    "billing_policy cache_control compaction container context_management diagnostics fallback_credit_token fallbacks "
    "inference_geo max_tokens mcp_servers messages metadata model output_config output_format safeguards service_tier "
    "speed stop_sequences stream system temperature thinking thread tool_choice tools top_k top_p user_profile_id "
    "workspace_id".split()
)
# Features of Anthropic's own service: account tiers, files and servers. Without these three, the client would get a
# different result than requested.
MISSED_ON_VERTEX = ("container", "mcp_servers", "thread")
_NOT_ON_VERTEX = frozenset(
    "billing_policy diagnostics fallback_credit_token fallbacks inference_geo service_tier speed user_profile_id "
    "workspace_id".split()
)
# The model is part of the URL.
VERTEX = ANTHROPIC - _NOT_ON_VERTEX - frozenset((*MISSED_ON_VERTEX, "model"))


def known(body: Mapping[str, Any], fields: frozenset[str]) -> Mapping[str, Any]:
    """Removes unknown fields and nulls. Returns the same body if there are none."""
    if body.keys() <= fields and None not in body.values():
        return body
    return {name: value for name, value in body.items() if name in fields and value is not None}


Fields = Mapping[str, Any]

_LONGEST_USER = 64
# The budget counts an 'image' as one image, so it must not turn into a video or a document.
_PICTURES = ("https://", "http://", "gs://", "data:image/")
_CANNOT = ("container", "mcp_servers")
# State kept by Anthropic between requests. A client that does not get it back cannot continue.
_KEPT_THERE = ("thread",)
_KNOWN = ("text", "image", "document", "search_result")


def chat(fields: Fields, d: Deployment, model: str, *, drop_params: bool) -> dict[str, Any]:
    """Translates the fields, except for the output limit. Raises Unsupported and Malformed."""
    for name in _KEPT_THERE:
        if fields.get(name) is not None:
            raise Malformed(name, f"'{name}' needs a Claude model.")
    made: dict[str, Any] = {"messages": _messages(fields, drop_params)}
    for name in ("temperature", "top_p", "stream"):
        if fields.get(name) is not None:
            made[name] = fields[name]
    if fields.get("stop_sequences"):
        made["stop"] = fields["stop_sequences"]
    for name in _CANNOT:
        if fields.get(name) and not drop_params:
            raise Unsupported(name, f"'{name}' needs a Claude model.")
    if fields.get("top_k") is not None:
        if d.provider not in ("openai", "azure"):
            made["top_k"] = fields["top_k"]
        elif not drop_params:
            raise Unsupported("top_k", "This model does not support 'top_k'.")
    made.update(_tools(fields, drop_params))
    takes = capabilities(d, model).fields
    if takes is not None and "parallel_tool_calls" not in takes:
        made.pop("parallel_tool_calls", None)  # parallel calls do no harm
    made.update(_thinking(fields, d, model))
    schema = _schema(fields)
    if schema is not None:
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    user = (fields.get("metadata") or {}).get("user_id")
    if isinstance(user, str):
        # OpenAI refuses longer ones.
        made["user"] = user if len(user) <= _LONGEST_USER else hashlib.sha256(user.encode()).hexdigest()
    return made


def _messages(fields: Fields, drop_params: bool) -> list[dict[str, Any]]:
    """Translates the messages. Unknown blocks in earlier messages are replaced with a note, because refusing them would
    block the rest of the conversation.
    """
    made: list[dict[str, Any]] = []
    system = _text(fields.get("system"), "system")
    if system:
        made.append({"role": "system", "content": system})
    last = len(fields["messages"]) - 1
    for index, message in enumerate(fields["messages"]):
        role, content = message.get("role"), message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        if role == "assistant":
            made.append(_assistant(blocks))
        elif role == "user":
            made += _user(blocks, lenient=drop_params or index < last)
        elif role == "system":
            made.append({"role": "system", "content": _text(content, "messages")})
        else:
            raise Malformed("messages", "A message's 'role' has to be user or assistant.")
    return made


def _text(value: Any, param: str) -> str:
    """Joins a string or a list of text blocks."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list) or not all(isinstance(b, dict) and isinstance(b.get("text"), str) for b in value):
        raise Malformed(param, f"'{param}' has to be a text or text blocks.")
    return "\n\n".join(b["text"] for b in value)


def _assistant(blocks: Sequence[Fields]) -> dict[str, Any]:
    """Translates an assistant message. Reasoning is kept, because some models require it next to calls. The work of
    Anthropic's own tools is only visible in the text.
    """
    texts, calls = [], []
    for block in blocks:
        if block.get("type") == "text":
            texts.append(str(block.get("text") or ""))
        elif block.get("type") == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            function = {"name": block["name"], "arguments": arguments}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif block.get("type") == "compaction" and block.get("content"):
            texts.append(str(block["content"]))  # a summary of the conversation so far
    made: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    thought = reasoning.of_blocks(blocks)
    if thought:
        made["reasoning_content"] = thought
    return {**made, "tool_calls": calls} if calls else made


def _user(blocks: Sequence[Fields], *, lenient: bool) -> list[dict[str, Any]]:
    """Translates a user message. Tool results come first, each as its own message, because they have to follow the
    calls.

    If `lenient`, unknown blocks are replaced with a note.
    """
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            parts += _parts(block, lenient)
            continue
        content = block.get("content")
        inner = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        known = [part for one in inner for part in _parts(one, lenient)]
        texts = [str(part["text"]) for part in known if part["type"] == "text"]
        text = "\n".join(texts) if known or not inner else fit.summary(inner)
        results.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
        # Tool messages only accept text.
        parts += [part for part in known if part["type"] != "text"]
    if not parts and not results and blocks:
        parts.append({"type": "text", "text": fit.summary(blocks)})
    if not parts:
        return results
    only = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
    return [*results, {"role": "user", "content": only}]


def _parts(block: Fields, lenient: bool) -> list[dict[str, Any]]:
    """Translates a block to parts: none if only Claude understands it, several if it contains parts itself."""
    kind, source = block.get("type"), block.get("source")
    if fit.only_claude_knows(kind):
        return []
    if lenient and kind not in _KNOWN:
        return [{"type": "text", "text": fit.LEFT_OUT.format(kind=kind)}]
    inner = source.get("content") if kind == "document" and isinstance(source, dict) else None
    if kind == "search_result":
        inner = block.get("content")
        heading = " ".join(str(block[name]) for name in ("title", "source") if block.get(name))
        return [{"type": "text", "text": heading}, *(part for one in inner or () for part in _parts(one, lenient))]
    if isinstance(inner, str):
        return [{"type": "text", "text": inner}]
    if isinstance(inner, list):
        return [part for one in inner for part in _parts(one, lenient)]
    return [_part(block)]


def _part(block: Fields) -> dict[str, Any]:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return {"type": "text", "text": str(block.get("text") or "")}
    if kind in ("image", "document") and isinstance(source, dict):
        if source.get("type") == "text":
            return {"type": "text", "text": str(source.get("data") or "")}
        url = source.get("url") if source.get("type") == "url" else None
        if source.get("type") == "base64":
            url = f"data:{source.get('media_type')};base64,{source.get('data')}"
        if isinstance(url, str) and kind == "image":
            if not url.startswith(_PICTURES):
                raise Unsupported("messages", "The 'media_type' of an 'image' has to be an image type.")
            return {"type": "image_url", "image_url": {"url": url}}
        if isinstance(url, str) and source.get("type") == "base64":
            return {"type": "file", "file": {"filename": block.get("title") or "document.pdf", "file_data": url}}
    raise Unsupported("messages", f"This block of the type '{kind}' needs a Claude model.")


def _tools(fields: Fields, drop_params: bool) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in fields.get("tools") or ():
        if tool.get("type", "custom") == "custom":
            schema = tool.get("input_schema") or {"type": "object", "properties": {}}
            function = {"name": tool["name"], "parameters": schema}
            if tool.get("description"):
                function["description"] = tool["description"]
            if isinstance(tool.get("strict"), bool):
                function["strict"] = tool["strict"]
            tools.append({"type": "function", "function": function})
        elif not drop_params:
            raise Unsupported("tools", f"Tools of the type '{tool['type']}' need a Claude model.")
    if not tools:
        return {}
    made: dict[str, Any] = {"tools": tools}
    choice = fields.get("tool_choice") or {}
    kind = choice.get("type")
    if kind in ("auto", "none"):
        made["tool_choice"] = kind
    elif kind == "any":
        made["tool_choice"] = "required"
    elif kind == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    if choice.get("disable_parallel_tool_use"):
        made["parallel_tool_calls"] = False
    return made


def _thinking(fields: Fields, d: Deployment, model: str) -> dict[str, Any]:
    """Translates the reasoning settings, if the model can reason. Anthropic's clients send them to every model."""
    thinking, config = fields.get("thinking"), fields.get("output_config")
    level = reasoning.of_thinking(thinking, config)
    known = capabilities(d, model).efforts
    if level is None or known == frozenset():
        return {}
    if d.format == "vertex_ai" and model.startswith("claude-"):
        given = {"thinking": thinking} if isinstance(thinking, dict) else {}
        asked = config.get("effort") if isinstance(config, dict) else None
        return {**given, "output_config": {"effort": asked}} if asked else given
    named = isinstance(config, dict) and level == config.get("effort")
    if d.format == "openai" or named or not isinstance(thinking, dict) or thinking.get("type") == "adaptive":
        if known is None and d.format == "openai":
            # An unknown server may not accept other levels.
            return {} if level == "none" else {"reasoning_effort": reasoning.nearest(level, ("low", "medium", "high"))}
        return {"reasoning_effort": level}
    budget = thinking.get("budget_tokens")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}} if isinstance(budget, int) else {}


def _schema(fields: Fields) -> dict[str, Any] | None:
    config = fields.get("output_config")
    for asked in (fields.get("output_format"), config.get("format") if isinstance(config, dict) else None):
        if isinstance(asked, dict) and isinstance(asked.get("schema"), dict):
            return asked["schema"]
    return None
