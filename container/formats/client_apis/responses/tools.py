"""Translates tools of the Responses API to functions, and calls of these functions back.

Custom tools have one text as their input, and become functions with one parameter. So do the tools that the client
runs: `local_shell`, `shell` and `apply_patch`. Tools in a namespace get its name as a prefix.
https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from ...shared.format import Unsupported

Fields = Mapping[str, Any]

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
