"""Translates a request of the Responses API to a chat completion.

What only OpenAI keeps or shows (`include`, `truncation`, `store`, `metadata`) has no effect. Fields that change the
result are refused. https://platform.openai.com/docs/api-reference/responses/create
"""

import base64
import binascii
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from ....config.deployment import Deployment
from ....request.completion import TEXTS, text_or_image
from ...shared import reasoning
from ...shared.capabilities import capabilities
from ...shared.wire import Malformed, Unsupported

Fields = Mapping[str, Any]

# Fields with the same name in chat.
_SAME = (
    "temperature", "top_p", "stream", "parallel_tool_calls", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "user",
)  # fmt: skip
# Hints and labels, which are dropped if a server refuses them.
OPTIONAL = (
    "reasoning_effort", "verbosity", "parallel_tool_calls", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "user",
)  # fmt: skip
_LOGPROBS = "message.output_text.logprobs"
_RESULTS_WITH_PARTS = ("anthropic", "gemini", "vertex_ai")


def chat(fields: Fields, d: Deployment, model: str, *, drop_params: bool) -> "tuple[dict[str, Any], Tools]":
    """Translates the fields, except for the output limit. Raises Unsupported and Malformed."""
    made: dict[str, Any] = {name: fields[name] for name in _SAME if name in fields}
    made["messages"] = messages(
        fields.get("input"),
        fields.get("instructions"),
        family(d, model),
        parts_in_results=d.format in _RESULTS_WITH_PARTS,
    )
    if not made["messages"]:
        raise Malformed("input", "'input' is missing.")
    tools = Tools(fields.get("tools") or (), drop_params=drop_params)
    made.update(_tools(fields, tools))
    if not made.get("tools"):
        made.pop("parallel_tool_calls", None)
    asked = fields.get("reasoning")
    effort = asked.get("effort") if isinstance(asked, dict) else None
    if isinstance(effort, str):
        made.update(_effort(effort, d, model))
    text = fields.get("text")
    if isinstance(text, dict):
        made.update(_text(text))
    if _LOGPROBS in (fields.get("include") or ()) or fields.get("top_logprobs"):
        made["logprobs"] = True
        if fields.get("top_logprobs"):
            made["top_logprobs"] = fields["top_logprobs"]
    return made, tools


def _tools(fields: Fields, tools: "Tools") -> dict[str, Any]:
    made: dict[str, Any] = {}
    chosen, offered = choice(fields.get("tool_choice"), tools.functions)
    if offered:
        made["tools"] = offered
        if chosen is not None:
            made["tool_choice"] = chosen
    return made


def _effort(level: str, d: Deployment, model: str) -> dict[str, Any]:
    """The reasoning effort, if the model can reason. Agents send one to every model."""
    known = capabilities(d, model).efforts
    if known == frozenset():
        return {}
    if known is None and d.format == "openai":
        # An unknown server may not accept other levels.
        return {} if level == "none" else {"reasoning_effort": reasoning.nearest(level, ("low", "medium", "high"))}
    return {"reasoning_effort": level}


def _text(text: Fields) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if text.get("verbosity"):
        made["verbosity"] = text["verbosity"]
    wanted = text.get("format")
    if not isinstance(wanted, dict):
        return made
    if wanted.get("type") == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type" and value is not None}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}
    return made


# All items of one turn of the model (reasoning, text, calls) become one message, because providers refuse reasoning or
# calls that stand alone. Results follow the message with their calls.
# https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

Item = Mapping[str, Any]

_ROLES = frozenset(("user", "assistant", "system", "developer"))


def messages(given: Any, instructions: Any, family: str, *, parts_in_results: bool) -> list[dict[str, Any]]:
    """`family`: of the model, see `sealed`. `parts_in_results`: the model accepts images and files in results.

    Raises Malformed and Unsupported, and AttributeError, KeyError or TypeError for values of unexpected types.
    """
    conversation = _Conversation(family, parts_in_results)
    if isinstance(instructions, str) and instructions:
        conversation.made.append({"role": "system", "content": instructions})
    elif isinstance(instructions, list):
        conversation.read(instructions)
    conversation.read([{"role": "user", "content": given}] if isinstance(given, str) else given or ())
    return conversation.made


class _Turn:
    """What the model said in one turn."""

    def __init__(self) -> None:
        self.texts: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.thoughts: list[str] = []
        self.blocks: list[dict[str, Any]] = []
        self.signatures: list[str] = []

    def message(self) -> dict[str, Any]:
        content = "".join(part["text"] for part in self.texts)
        made: dict[str, Any] = {"role": "assistant", "content": content or (None if self.calls else "")}
        if self.thoughts:
            made["reasoning_content"] = "\n\n".join(self.thoughts)
        if self.blocks:
            made["thinking_blocks"] = self.blocks
        if self.signatures:
            made["provider_specific_fields"] = {"thought_signatures": self.signatures}
        if self.calls:
            made["tool_calls"] = self.calls
        return made

    def says_something(self) -> bool:
        return bool(self.texts or self.calls)


class _Conversation:
    def __init__(self, family: str, parts_in_results: bool) -> None:
        self.made: list[dict[str, Any]] = []
        self._family = family
        self._parts_in_results = parts_in_results
        self._results: defaultdict[str, list[Item]] = defaultdict(list)
        self._turn: _Turn | None = None

    def read(self, items: Iterable[Item]) -> None:
        items = list(items)
        for item in items:
            if item.get("type") in RESULTS:
                self._results[_call_of(item)].append(item)
        for item in items:
            self._read(item)
        self._end_turn()
        self._end_results()

    def _read(self, item: Item) -> None:
        kind = item.get("type") or "message"
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            self._reasoning(item)
        elif kind in CALLS:
            self._current().calls.append(chat_call(item))
        elif kind in RESULTS:
            self._end_turn()
        elif kind == "compaction" or kind.endswith(("_call", "_output", "_request", "_response", "_tools")):
            return  # of tools that another provider ran; their result is in the text
        else:
            raise Unsupported("input", f"This model does not support input items of the type '{kind}'.")

    def _message(self, item: Item) -> None:
        role, content = item.get("role"), item.get("content")
        if role not in _ROLES:
            raise Malformed("input", "The 'role' of a message has to be user, assistant, system or developer.")
        if role == "assistant":
            self._current().texts += [part for part in parts(content) if part["type"] == "text"]
            return
        self._end_turn()
        if content is not None:
            self.made.append({"role": role, "content": simple(parts(content))})

    def _reasoning(self, item: Item) -> None:
        """Keeps reasoning of the same models. Others could not use it."""
        kept = unseal(item.get("encrypted_content"), self._family)
        if not kept:
            return
        turn = self._current()
        turn.blocks += kept.get("blocks") or ()
        turn.signatures += kept.get("signatures") or ()
        if isinstance(kept.get("text"), str) and kept["text"]:
            turn.thoughts.append(kept["text"])

    def _current(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None or not turn.says_something():
            return
        self.made.append(turn.message())
        others: list[dict[str, Any]] = []
        for call in turn.calls:
            waiting = self._results.get(call["id"])
            if waiting:
                others += self._result(waiting.pop(0))
        if others:
            self.made.append({"role": "user", "content": others})

    def _end_results(self) -> None:
        """Adds results without a call. The provider refuses them."""
        for waiting in self._results.values():
            for item in waiting:
                self._result(item)
        self._results.clear()

    def _result(self, item: Item) -> list[dict[str, Any]]:
        """Adds a result. Returns its parts that are no text, unless the model accepts them there."""
        said = item.get("output")
        if said is None:
            said = str(item.get("status") or "")
        if not (isinstance(said, str) or (isinstance(said, list) and all(_is_part(one) for one in said))):
            said = orjson.dumps(said).decode()
        content = parts(said)
        texts = [part for part in content if part["type"] == "text"]
        others = [part for part in content if part["type"] != "text"]
        if others and self._parts_in_results:
            texts, others = content, []
        self.made.append({"role": "tool", "tool_call_id": _call_of(item), "content": simple(texts)})
        return others


def _call_of(item: Item) -> str:
    return str(item.get("call_id") or item.get("id") or "")


def _is_part(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and (kind in TEXTS or kind.startswith("input_"))


def simple(content: list[dict[str, Any]]) -> Any:
    """A string if there is only one text."""
    if not content:
        return ""
    return content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content


def parts(content: Any) -> list[dict[str, Any]]:
    """Translates the content of a message or result."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(part) for part in content]


def _part(part: Item) -> dict[str, Any]:
    found = text_or_image(part)
    if found is not None:
        return found
    kind = part.get("type")
    if kind == "input_file":
        file = {name: part[name] for name in ("filename", "file_data") if part.get(name)}
        if isinstance(part.get("file_url"), str):
            file["file_id"] = part["file_url"]
        if "file_data" in file or "file_id" in file:
            return {"type": "file", "file": file}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    # A file's id belongs to the gateway's account at OpenAI.
    raise Unsupported("input", f"This model does not support this content of the type '{kind}'.")


# Reasoning that only its own provider can read is kept by the client as the `encrypted_content` of a reasoning item.
# Claude signs its thinking, Gemini its answers, and some models want their reasoning back as text. None of them may get
# what another has made, so the content names the family of models it belongs to.

_MARK = "lr1."
_MOST_BYTES = 8 * 1024 * 1024


def family(d: Deployment, model: str) -> str:
    """The models that accept each other's reasoning: Claude's signatures are valid on all platforms, and Gemini's in
    both of Google's APIs.
    """
    name = model.lower()
    for known in ("claude", "gemini"):
        if known in name or known in str(d.info.get("base_model") or "").lower():
            return known
    return f"{d.provider}/{name}"


def seal(family: str, text: str, kept: Mapping[str, Any]) -> str:
    """`text` is the visible reasoning. `kept`: {"blocks": [blocks of Claude's thinking], "signatures": [Gemini's]}."""
    blocks = joined_thoughts(kept.get("blocks") or ())
    made = {"for": family, **kept, **({"blocks": blocks} if blocks else {"text": text})}
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(made)).decode()


def is_ours(content: Any) -> bool:
    return isinstance(content, str) and content.startswith(_MARK)


def unseal(content: Any, family: str) -> dict[str, Any]:
    """What `seal` was given. Empty if it is for other models, or damaged."""
    if not is_ours(content) or len(content) > _MOST_BYTES:
        return {}
    try:
        found = orjson.loads(base64.urlsafe_b64decode(content[len(_MARK) :]))
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("for") == family else {}


def joined_thoughts(pieces: Any) -> list[dict[str, Any]]:
    """Puts the pieces of Claude's thinking blocks together. A signature ends a block."""
    blocks: list[dict[str, Any]] = []
    ended = True
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        if piece.get("type") != "thinking":
            blocks.append(dict(piece))
            ended = True
            continue
        if ended:
            blocks.append({"type": "thinking", "thinking": "", "signature": ""})
        block = blocks[-1]
        block["thinking"] += str(piece.get("thinking") or "")
        block["signature"] += str(piece.get("signature") or "")
        ended = bool(piece.get("signature"))
    return [block for block in blocks if block["type"] != "thinking" or block["signature"]]


# Tools of the Responses API become functions, and calls of these functions are translated back. Custom tools have one
# text as their input, and become functions with one parameter. So do the tools that the client runs: `local_shell`,
# `shell` and `apply_patch`. Tools in a namespace get its name as a prefix. https://platform.openai.com/docs/api-
# reference/responses/create#responses-create-tools

INPUT = "input"
_TEXT: Fields = {"type": "string"}
_WHOLE: Fields = {"type": "integer"}
_LINES: Fields = {"type": "array", "items": _TEXT}


class Kind(NamedTuple):
    """What a function stands for: the type of its calls' items, the client's name and namespace."""

    item: str
    name: str
    namespace: str | None = None


def _object(required: Iterable[str], **properties: Fields) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


class _ClientTool(NamedTuple):
    """A tool that the client runs, with a form of its own for calls."""

    item: str
    description: str
    parameters: dict[str, Any]


_CLIENT_TOOLS = {
    "local_shell": _ClientTool(
        "local_shell_call",
        "Runs a command on the user's machine and returns its output.",
        _object(("command",), command=_LINES, working_directory=_TEXT, timeout_ms=_WHOLE),
    ),
    "shell": _ClientTool(
        "shell_call",
        "Runs shell commands on the user's machine and returns their output.",
        _object(("commands",), commands=_LINES, timeout_ms=_WHOLE, max_output_length=_WHOLE),
    ),
    "apply_patch": _ClientTool(
        "apply_patch_call",
        "Creates, updates or deletes a file. 'diff' is in the V4A format, without the file's header.",
        _object(
            ("type", "path"),
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path=_TEXT,
            diff=_TEXT,
        ),
    ),
}
# The types of the items that are calls, and of those that are their results.
CALLS = frozenset(("function_call", "custom_tool_call", *(tool.item for tool in _CLIENT_TOOLS.values())))
RESULTS = frozenset(f"{call}_output" for call in CALLS)
_NAMES = {tool.item: name for name, tool in _CLIENT_TOOLS.items()}
# Agents offer a search on the web with every request, but providers bill each one. `tool_search` only finds functions
# that were not sent.
_LEFT_OUT = ("web_search", "tool_search")


class Tools:
    """The tools of a request. `functions` are chat's tools."""

    def __init__(self, given: Iterable[Fields], *, drop_params: bool) -> None:
        """Raises Unsupported for a tool that only OpenAI can run."""
        self.functions: list[dict[str, Any]] = []
        self._kinds: dict[str, Kind] = {}
        for tool in given:
            self._add(tool, None, drop_params)

    def _add(self, tool: Fields, namespace: str | None, drop_params: bool) -> None:
        kind = tool["type"]
        if kind == "function":
            self._function(tool, namespace)
        elif kind == "custom":
            self._custom(tool, namespace)
        elif kind == "namespace":
            for inner in tool.get("tools") or ():
                self._add(inner, str(tool["name"]), drop_params)
        elif kind in _CLIENT_TOOLS and not _is_remote(tool):
            one = _CLIENT_TOOLS[kind]
            self._kinds[kind] = Kind(one.item, kind)
            self._say(kind, one.description, one.parameters)
        elif not (drop_params or kind.startswith(_LEFT_OUT)):
            raise Unsupported("tools", f"This model does not support tools of the type '{kind}'.")

    def _function(self, tool: Fields, namespace: str | None) -> None:
        name = flat_name(tool["name"], namespace)
        if namespace is not None:
            self._kinds[name] = Kind("function_call", tool["name"], namespace)
        more = {"strict": tool["strict"]} if isinstance(tool.get("strict"), bool) else {}
        parameters = tool.get("parameters") or {"type": "object", "properties": {}}
        self._say(name, tool.get("description"), parameters, **more)

    def _custom(self, tool: Fields, namespace: str | None) -> None:
        name = flat_name(tool["name"], namespace)
        self._kinds[name] = Kind("custom_tool_call", tool["name"], namespace)
        described = [str(tool["description"])] if tool.get("description") else []
        grammar = tool.get("format")
        if isinstance(grammar, dict) and grammar.get("type") == "grammar":
            syntax, definition = grammar.get("syntax"), grammar.get("definition")
            described.append(f"'{INPUT}' is not JSON. It has to match this {syntax} grammar:\n{definition}")
        self._say(name, "\n\n".join(described) or None, _object((INPUT,), **{INPUT: _TEXT}))

    def _say(self, name: str, description: Any, parameters: Any, **more: Any) -> None:
        described = {"description": description} if description else {}
        function = {"name": name, **described, "parameters": parameters, **more}
        self.functions.append({"type": "function", "function": function})

    def begun(self, id: str, name: str) -> dict[str, Any]:
        """The item of a call that has begun."""
        kind = self._kinds.get(name) or Kind("function_call", name)
        item: dict[str, Any] = {"type": kind.item, "status": "in_progress", "call_id": id}
        if kind.item in _NAMES:
            return item
        item |= {"name": kind.name, ("arguments" if kind.item == "function_call" else INPUT): ""}
        return item if kind.namespace is None else {**item, "namespace": kind.namespace}

    def complete(self, item: dict[str, Any], arguments: str) -> None:
        """Adds the arguments to an item, in the form that its type has for them."""
        kind = item["type"]
        if kind == "function_call":
            item["arguments"] = arguments
            return
        try:
            given = orjson.loads(arguments) if arguments else {}
        except orjson.JSONDecodeError:
            given = {INPUT: arguments}
        given = given if isinstance(given, dict) else {INPUT: arguments}
        if kind == "custom_tool_call":
            said = given.get(INPUT)
            item[INPUT] = said if isinstance(said, str) else arguments
        elif kind == "local_shell_call":
            item["action"] = {
                "type": "exec",
                "command": _lines(given.get("command")),
                "env": {},
                **_present(given, working_directory=str, timeout_ms=int),
            }
        elif kind == "shell_call":
            item["action"] = {
                "commands": _lines(given.get("commands")),
                **_present(given, timeout_ms=int, max_output_length=int),
            }
            item["environment"] = {"type": "local"}
        else:
            item["operation"] = {"type": str(given.get("type") or "update_file"), "path": str(given.get("path") or "")}
            if item["operation"]["type"] != "delete_file":
                item["operation"]["diff"] = str(given.get("diff") or "")


def choice(given: Any, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Translates `tool_choice`. Also returns the tools that the model may call."""
    if not isinstance(given, dict):
        return given, tools
    kind = given.get("type")
    if kind == "allowed_tools":
        names = {_chosen(one) for one in given.get("tools") or () if isinstance(one, dict)}
        allowed = [tool for tool in tools if tool["function"]["name"] in names]
        return given.get("mode") or "auto", allowed
    name = _chosen(given)
    if any(tool["function"]["name"] == name for tool in tools):
        return {"type": "function", "function": {"name": name}}, tools
    return "auto", tools


def _chosen(given: Fields) -> str:
    name = given.get("name")
    return flat_name(name, given.get("namespace")) if isinstance(name, str) else str(given.get("type"))


def flat_name(name: Any, namespace: Any) -> str:
    return f"{namespace}__{name}" if namespace else str(name)


def chat_call(item: Fields) -> dict[str, Any]:
    """Translates the item of an earlier call."""
    kind, name = item["type"], flat_name(item.get("name"), item.get("namespace"))
    if kind == "function_call":
        arguments = item.get("arguments") or ""
    elif kind == "custom_tool_call":
        arguments = {INPUT: item.get(INPUT) or ""}
    else:
        name = _NAMES[kind]
        given = item.get("operation" if kind == "apply_patch_call" else "action")
        arguments = {n: v for n, v in (given or {}).items() if (n != "type" or name == "apply_patch") and n != "env"}
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    function = {"name": name, "arguments": arguments}
    return {"id": item.get("call_id") or item.get("id"), "type": "function", "function": function}


def _is_remote(tool: Fields) -> bool:
    """Whether the tool runs in a container at OpenAI."""
    environment = tool.get("environment")
    return isinstance(environment, dict) and environment.get("type") != "local"


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []


def _present(given: Fields, **types: type) -> dict[str, Any]:
    return {name: given[name] for name, kind in types.items() if isinstance(given.get(name), kind)}


# The input of a custom tool, while its arguments, `{"input": "…"}`, are still being streamed.

_BEGINNING = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
_LONGEST_BEGINNING = 64
# The text up to the closing quotation mark. A backslash is only taken together with what it escapes, and half of a
# surrogate pair only with the other half.
_HIGH = "[dD][89abAB]"
_PIECE_OF_TEXT = re.compile(
    rf'(?:[^"\\]|\\u{_HIGH}[0-9a-fA-F]{{2}}\\u[0-9a-fA-F]{{4}}|\\u(?!{_HIGH})[0-9a-fA-F]{{4}}|\\[^u])*'
)


class CustomInput:
    """`said` has the pieces of the input that have been read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._held = ""
        self._within = False
        self._ended = False

    def feed(self, arguments: str) -> str:
        """Returns the next piece of the input, or "" if it is not complete yet or the arguments have another form."""
        if self._ended:
            return ""
        self._held += arguments
        if not self._within:
            beginning = _BEGINNING.match(self._held)
            if beginning is None:
                self._ended = len(self._held) > _LONGEST_BEGINNING
                return ""
            self._within, self._held = True, self._held[beginning.end() :]
        found = _PIECE_OF_TEXT.match(self._held)
        text = found[0] if found else ""
        self._held = self._held[len(text) :]
        self._ended = self._held.startswith('"')
        try:
            piece: str = orjson.loads(f'"{text}"')
        except orjson.JSONDecodeError:  # a line break that is not escaped, for example
            self._ended = True
            return ""
        self.said.append(piece)
        return piece
