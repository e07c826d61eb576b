"""Translates a chat completion request to Anthropic's Messages API.

Messages become a separate system prompt and alternating user and assistant turns. The content blocks of a turn are
text, images, documents, tool calls and tool results. https://platform.claude.com/docs/en/api/messages
"""

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from ..shared.fit import missed
from ..shared.wire import Malformed, Unsupported
from . import tools
from .models import DEFAULT_MAX_TOKENS, Traits, capped, thinking

JSON_TOOL = "json_tool_call"
STRUCTURED_OUTPUTS = "structured-outputs-2025-11-13"
EFFORT = "effort-2025-11-24"

_MESSAGES, _FORMAT = "messages", "response_format"
# OpenAI's fields without an equivalent, and their values without effect.
_NOT_HERE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    **dict.fromkeys(
        "functions function_call top_logprobs seed prediction audio verbosity".split(),
        (),
    ),
}
_TRANSLATED = frozenset(
    "model messages max_tokens max_completion_tokens tools tool_choice parallel_tool_calls stream stream_options stop "
    "temperature top_p top_k response_format user metadata thinking reasoning_effort web_search_options service_tier "
    "output_config".split()
)
# Anthropic's own fields.
_OWN = frozenset(
    "cache_control container context_management mcp_servers output_format output_config thinking top_k".split()
)
_SAMPLING = ("temperature", "top_p", "top_k")
_TIERS = {"auto": "auto", "standard_only": "standard_only", "default": "standard_only"}
# Anthropic refuses user ids that contain personal data.
_EMAIL = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$")
_PHONE = re.compile(r"\+?[\d\s()-]{7,}$")


class Translated(NamedTuple):
    """The translated request.

    `body` contains all fields except `model`. `betas` are for the `anthropic-beta` header. `names` maps Anthropic's
    tool names to the client's. `json_tool` means that the response will be a tool call, because the model cannot follow
    a schema otherwise.
    """

    body: dict[str, Any]
    betas: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    json_tool: bool = False


def translate(
    can: Traits,
    fields: Mapping[str, Any],
    *,
    drop_params: bool,
    max_tokens: int | None = None,
    ours: bool = False,
    presets: Collection[str] = (),
) -> Translated:
    """Translates the request for a model with the traits `can`.

    `fields` are those of a chat completion, including the deployment's presets. `max_tokens` is the model's largest
    output, if known. `ours` means that the client did not choose both the output limit and the reasoning budget, so the
    budget may shrink. `presets` names the fields set by the config. Raises Unsupported and Malformed.
    """
    body: dict[str, Any] = {}
    given = {name: value for name, value in fields.items() if value is not None}
    _refuse(given, can, drop_params)
    names = _tools(body, given, can, drop_params)
    body["system"], body["messages"] = conversation(given[_MESSAGES], names, system_turns=can.system_turns)
    if not body["system"]:
        del body["system"]
    body.update(thinking(given, can))
    if "output_config" in given and "output_config" not in body:
        body["output_config"] = given["output_config"]
    json_tool = _answer_format(body, given, can)
    if "tools" not in body and any(m.get("tool_calls") for m in given[_MESSAGES]):
        body["tools"] = [tools.DUMMY]
    body["max_tokens"] = _limit(body, given, can, max_tokens)
    if ours and isinstance(body.get("thinking"), dict) and "budget_tokens" in body["thinking"]:
        _make_room(body)
    _sampling(body, given, can, drop_params)
    _rest(body, given, drop_params, presets)
    return Translated(body, _betas(body, can), {theirs: here for here, theirs in names.items()}, json_tool)


def _refuse(given: dict[str, Any], can: Traits, drop_params: bool) -> None:
    for name in _NOT_HERE.keys() & given.keys():
        if not drop_params and given[name] not in _NOT_HERE[name]:
            raise Unsupported(name, f"Claude does not support '{name}'.")
        del given[name]
    for name in () if can.thinks else ("reasoning_effort", "thinking"):
        if name in given and not drop_params:
            raise Unsupported(name, f"This model does not support '{name}'.")
        given.pop(name, None)


def _tools(body: dict[str, Any], given: Mapping[str, Any], can: Traits, drop_params: bool) -> dict[str, str]:
    """Translates tools and tool choice. Returns the names that had to change."""
    made = tools.tools(given.get("tools") or ())
    if isinstance(given.get("web_search_options"), dict):
        made.append(tools.web_search(given["web_search_options"]))
    names = tools.allowed_names(
        [t["name"] for t in made if t.get("type") == "custom" and isinstance(t.get("name"), str)]
    )
    if made:
        body["tools"] = [{**t, "name": names[t["name"]]} if t.get("name") in names else t for t in made]
    choice = tools.choice(given.get("tool_choice"), given.get("parallel_tool_calls"))
    if choice is None:
        return names
    if choice["type"] in ("any", "tool") and not can.forced_tools:
        if not drop_params:
            raise Unsupported("tool_choice", "This model cannot be forced to call a tool.")
        choice = {"type": "auto", **{k: v for k, v in choice.items() if k not in ("type", "name")}}
    if "name" in choice:
        choice["name"] = names.get(choice["name"], choice["name"])
    body["tool_choice"] = choice
    return names


def _answer_format(body: dict[str, Any], given: Mapping[str, Any], can: Traits) -> bool:
    """Requests the response format. Returns whether the response will be a call of `JSON_TOOL`."""
    format = given.get(_FORMAT)
    if format is None:
        return False
    wanted = tools.wanted(format)
    if wanted is None:
        return False
    if can.json_schema:
        config = body.get("output_config")
        wanted = {"type": "json_schema", "schema": tools.answer_schema(wanted)}
        body["output_config"] = {**(config if isinstance(config, dict) else {}), "format": wanted}
        return False
    body["tools"] = [{"name": JSON_TOOL, "input_schema": {"type": "object", **wanted}}, *body.get("tools", ())]
    if not body.keys() & {"thinking", "tool_choice"} and can.forced_tools:
        body["tool_choice"] = {"name": JSON_TOOL, "type": "tool"}
    return True


def _limit(body: Mapping[str, Any], given: Mapping[str, Any], can: Traits, of_deployment: int | None) -> int:
    """The output limit, which Anthropic requires.

    This is the client's limit, else the reasoning budget plus the default limit, else the maximum.
    """
    most = of_deployment or can.max_tokens
    asked = given.get("max_tokens")
    if asked:
        return asked
    thought = body.get("thinking")
    if isinstance(thought, dict) and thought.get("type") == "enabled" and isinstance(thought.get("budget_tokens"), int):
        return min(thought["budget_tokens"] + DEFAULT_MAX_TOKENS, max(most, thought["budget_tokens"] + 1))
    return most


def _make_room(body: dict[str, Any]) -> None:
    """Shrinks the reasoning budget to fit into the output limit."""
    fitting = capped(body["thinking"]["budget_tokens"], body["max_tokens"])
    if fitting is None:
        del body["thinking"]
    else:
        body["thinking"] = {**body["thinking"], **fitting}


def _sampling(body: dict[str, Any], given: Mapping[str, Any], can: Traits, drop_params: bool) -> None:
    for name in _SAMPLING:
        value = given.get(name)
        if value is None:
            continue
        if can.sampling or (name == "temperature" and value == 1):
            body[name] = value
        elif not drop_params:
            raise Unsupported(name, f"This model does not support '{name}'.")


def _rest(body: dict[str, Any], given: Mapping[str, Any], drop_params: bool, presets: Collection[str]) -> None:
    stop = given.get("stop")
    sequences = [stop] if isinstance(stop, str) else list(stop or ())
    if drop_params:
        sequences = [s for s in sequences if not s.isspace()]
    if sequences:
        body["stop_sequences"] = sequences
    if given.get("stream"):
        body["stream"] = True
    metadata = given.get("metadata")
    of_metadata = metadata.get("user_id") if isinstance(metadata, dict) else None
    for user in (of_metadata, given.get("user")):
        if isinstance(user, str) and not _EMAIL.match(user) and not _PHONE.match(user):
            body["metadata"] = {"user_id": user}
            break
    tier = given.get("service_tier")
    if tier in _TIERS:
        body["service_tier"] = _TIERS[tier]
    elif tier is not None and not drop_params:
        raise Unsupported("service_tier", f"Claude does not support the 'service_tier' {tier}.")
    for name, value in given.items():
        if name in _OWN or name in presets:
            if name not in _TRANSLATED:
                body.setdefault(name, value)
        elif name not in _TRANSLATED and not drop_params and missed(name, value):
            raise Unsupported(name, f"Claude does not support '{name}'.")


def _betas(body: Mapping[str, Any], can: Traits) -> tuple[str, ...]:
    config = body.get("output_config")
    effort = isinstance(config, dict) and config.get("effort") and not can.adaptive
    # The old place of `output_config.format`, which a config may still set, needs its beta.
    return ((STRUCTURED_OUTPUTS,) if "output_format" in body else ()) + ((EFFORT,) if effort else ())


# The messages.

Block = dict[str, Any]

# Anthropic refuses empty text, which OpenAI's clients often send. The wording is LiteLLM's.
EMPTY = "[System: Empty message content sanitised to satisfy protocol]"

_DATA = re.compile(r"data:([^;,]+)(?:;[^;,]*)*?;base64,(.*)", re.DOTALL)
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_PARTS = "messages"


def text(value: Any) -> Block:
    """A text block, which is never empty."""
    if not isinstance(value, str):
        raise Malformed(_PARTS, "A text part of a message has no text.")
    return {"type": "text", "text": value if value.strip() else EMPTY}


def part(value: Mapping[str, Any]) -> Block:
    """Translates a part of a user message. Raises Unsupported for parts that Claude cannot read."""
    kind = value.get("type")
    if kind == "text":
        block = text(value.get("text"))
    elif kind == "image_url":
        block = _picture(value.get("image_url"))
    elif kind == "file":
        block = _file(value.get("file"))
    elif kind == "document":  # Anthropic's own type
        return dict(value)
    else:
        raise Unsupported(_PARTS, f"Claude does not support message parts of the type '{kind}'.")
    return cached(block, value)


def cached(block: Block, source: Mapping[str, Any]) -> Block:
    """Copies the cache marker from `source` to the block."""
    marker = source.get("cache_control")
    if isinstance(marker, dict):
        block["cache_control"] = marker
    return block


def _picture(value: Any) -> Block:
    given = value if isinstance(value, dict) else {"url": value}
    url = given.get("url")
    if not isinstance(url, str):
        raise Malformed(_PARTS, "An 'image_url' has no URL.")
    if url.startswith("https://"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, data = _data(url, "A picture")
    if kind == "application/pdf" or kind.startswith("text/"):
        return _document(kind, data)
    return {"type": "image", "source": {"type": "base64", "media_type": given.get("format") or kind, "data": data}}


def _file(value: Any) -> Block:
    given = value if isinstance(value, dict) else {}
    data, identity = given.get("file_data"), given.get("file_id")
    if isinstance(data, str) and data:
        kind, encoded = _data(data, "A file")
        return _document(given.get("format") or kind, encoded)
    if isinstance(identity, str) and identity.startswith("https://"):
        return {"type": "document", "source": {"type": "url", "url": identity}}
    # Files stored with the provider belong to the gateway's account, not to the client.
    raise Unsupported(_PARTS, "A file has to be sent as 'file_data', or as an https URL in 'file_id'.")


def _document(kind: str, data: str) -> Block:
    if not kind.startswith("text/"):
        return {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
    try:
        plain = b64decode(data, validate=True).decode()
    except (BinasciiError, ValueError):
        raise Malformed(_PARTS, "A text file has to be UTF-8 encoded in base64.") from None
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": plain}}


def _data(url: str, what: str) -> tuple[str, str]:
    found = _DATA.fullmatch(url)
    if found is None:
        raise Unsupported(_PARTS, f"{what} has to be an https URL or a 'data:' URL in base64.")
    return found[1], found[2]


def result(message: Mapping[str, Any]) -> Block:
    """Translates a message with the role `tool`."""
    content = message.get("content")
    answer: Any = "" if content is None else content
    if isinstance(content, list):
        # Tool results may contain empty text.
        answer = [
            cached({"type": "text", "text": str(p.get("text") or "")}, p) if p.get("type") == "text" else part(p)
            for p in content
        ]
    call = message.get("tool_call_id")
    if not isinstance(call, str):
        raise Malformed(_PARTS, "A message with the role 'tool' has no 'tool_call_id'.")
    return cached({"type": "tool_result", "tool_use_id": identifier(call), "content": answer}, message)


def calls(message: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Block]:
    """Translates the calls of an assistant message.

    `names` maps tools to their names at Anthropic, where they differ.
    """
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise Malformed(_PARTS, "A tool call needs an 'id' and a 'function'.")
        name = function.get("name")
        block = {"type": "tool_use", "id": identifier(call["id"]), "name": names.get(str(name), name)}
        yield cached({**block, "input": arguments(function.get("arguments"))}, call)


def identifier(given: str) -> str:
    """Converts a call id to one that Anthropic accepts."""
    return _NOT_IN_IDS.sub("_", given) or "tool_use_id"


def arguments(given: Any) -> Any:
    """Parses call arguments. Completes arguments that were cut off, as far as possible."""
    if not given or not isinstance(given, str) or not given.strip():
        return {}
    try:
        return orjson.loads(given)
    except orjson.JSONDecodeError:
        try:
            return orjson.loads(given + _missing(given))
        except orjson.JSONDecodeError:
            raise Malformed(_PARTS, "The 'arguments' of a tool call are not valid JSON.") from None


def _missing(given: str) -> str:
    """The quotes and brackets that close what is open."""
    waiting: list[str] = []
    quoted = escaped = False
    for c in given:
        if escaped:
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in "{[":
            waiting.append("}" if c == "{" else "]")
        elif c in "}]" and waiting:
            waiting.pop()
    return '"' * quoted + "".join(reversed(waiting))


Message = Mapping[str, Any]

# Precedes a system message that is sent as a user message. LiteLLM's wording.
OPERATOR_NOTE = (
    "Operator note (not from the user): the following was originally a mid-conversation system-role reminder."
)
_SYSTEM = ("system", "developer")
_USER = ("user", "tool")


def conversation(
    messages: Sequence[Message], names: Mapping[str, str], *, system_turns: bool
) -> tuple[list[Block], list[Block]]:
    """Returns the blocks of the system prompt, and the turns.

    `names` maps tools to their names at Anthropic, where they differ. `system_turns` says whether the model accepts
    system messages within the conversation. Only the leading system messages become the system prompt. Others stay in
    place, so that the provider's prompt cache remains valid. Raises Unsupported and Malformed.
    """
    start = next((i for i, m in enumerate(messages) if m["role"] not in _SYSTEM), len(messages))
    system = [block for m in messages[:start] for block in _texts(m)]
    placed = _within(messages[start:]) if system_turns else _as_user(messages[start:])
    return system, _turns(placed, names)


def _texts(message: Message) -> list[Block]:
    """The non-empty texts of a system message."""
    said = message.get("content")
    if isinstance(said, str):
        return [cached({"type": "text", "text": said}, message)] if said else []
    return [
        cached({"type": "text", "text": p["text"]}, p)
        for p in said or ()
        if p.get("type") == "text" and isinstance(p.get("text"), str) and p["text"]
    ]


def _as_user(messages: Sequence[Message]) -> Iterator[Message]:
    """Converts system messages to user messages with a note.

    A system message between a call and its result moves behind the result.
    """
    late: list[Message] = []
    for i, message in enumerate(messages):
        role = message["role"]
        if role in _SYSTEM:
            follower = next((m["role"] for m in messages[i + 1 :] if m["role"] not in _SYSTEM), None)
            note = _noted(message)
            if follower == "tool":
                late += note
            else:
                yield from note
            continue
        if late and role != "tool":
            yield from late
            late = []
        yield message
    yield from late


def _noted(message: Message) -> list[Message]:
    said = _texts(message)
    return [{"role": "user", "content": [{"type": "text", "text": OPERATOR_NOTE}, *said]}] if said else []


def _within(messages: Sequence[Message]) -> Iterator[Message]:
    """Moves system messages to where Anthropic accepts them.

    That is after a user turn that ends the conversation or precedes an assistant turn. A system message after an
    assistant turn moves behind the following user turn. If there is none, it becomes a user message.
    """
    waiting: list[Message] = []
    previous = ""
    for i, message in enumerate(messages):
        role = message["role"]
        if role in _SYSTEM:
            following = next((m["role"] for m in messages[i + 1 :] if m["role"] not in _SYSTEM), None)
            if previous in _USER or following in _USER:
                waiting.append(message)
            else:
                yield from _noted(message)
            continue
        if waiting and role not in _USER and previous in _USER:
            yield from _one_system(waiting)
            waiting = []
        yield message
        previous = role
    yield from _one_system(waiting)


def _one_system(messages: Sequence[Message]) -> Iterator[Message]:
    said = [block for m in messages for block in _texts(m)]
    if said:
        yield {"role": "system", "content": said}


def _turns(messages: Iterable[Message], names: Mapping[str, str]) -> list[Block]:
    """Merges consecutive messages of the same side into one turn."""
    turns: list[Block] = []
    side, blocks, seen = "", [], set()
    for message in messages:
        role = message["role"]
        now = "user" if role in _USER else role
        if now != side or now == "system":
            side, blocks, seen = now, [], set()
            turns.append({"role": side, "content": blocks})
        if role == "user":
            blocks += _user(message)
        elif role == "tool":
            blocks.append(result(message))
        elif role == "assistant":
            blocks += _assistant(message, names, seen)
        elif role == "system":
            blocks += message["content"]
        else:
            raise Malformed("messages", f"Claude does not support messages with the role '{role}'.")
    turns = [turn for turn in turns if turn["content"]]
    if not turns:
        raise Malformed("messages", "Claude needs at least one message that is not a system message.")
    if turns[-1]["role"] == "assistant":
        # Anthropic refuses a final assistant turn that ends in whitespace.
        for block in turns[-1]["content"]:
            if block["type"] == "text":
                block["text"] = block["text"].rstrip()
    return turns


def _user(message: Message) -> list[Block]:
    said = message.get("content")
    if isinstance(said, str):
        return [cached(text(said), message)]
    return [part(p) for p in said or ()]


def _assistant(message: Message, names: Mapping[str, str], seen: set[str]) -> list[Block]:
    """Translates an assistant message without repeated calls. `seen` contains the call ids of the turn so far."""
    said = message.get("content")
    called = [c for c in calls(message, names) if c["id"] not in seen and not seen.add(c["id"])]
    blocks: list[Block] = []
    parts = said if isinstance(said, list) else ()
    if not any(p.get("type") in ("thinking", "redacted_thinking") for p in parts):
        blocks += _signed(message.get("thinking_blocks") or ())
    if isinstance(said, str) and (said.strip() or not called):
        # Empty text next to a call has no content, and the model did not write it.
        blocks.append(cached(text(said), message))
    for p in parts:
        kind = p.get("type") or ""
        if kind == "text":
            if p.get("text") or not called:
                blocks.append(cached(text(p.get("text")), p))
        elif kind in ("thinking", "redacted_thinking"):
            blocks += _signed((p,))
        elif kind == "refusal":
            blocks.append(text(p.get("refusal")))
        elif kind == "server_tool_use" or kind.endswith("_tool_result"):
            blocks.append(dict(p))
    return blocks + called


def _signed(blocks: Iterable[Any]) -> list[Block]:
    """Keeps signed reasoning only. Anthropic verifies signatures and refuses reasoning without one."""
    return [
        dict(b)
        for b in blocks
        if isinstance(b, dict)
        and (b.get("type") == "redacted_thinking" or (b.get("type") == "thinking" and b.get("signature")))
    ]
