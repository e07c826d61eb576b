"""Answers for agents: the prompt says which tool is called, and a JSON schema gets JSON that fits it.

`CALL exec_command {"cmd": "ls"} ` in the last user text calls that tool, if the request offers it. `REVERSE olleh` is
answered with `hello`, which tells an answer from an echo of the prompt.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_CALL = re.compile(r"CALL ([\w.:-]+) (?=\{)")
_REVERSE = re.compile(r"REVERSE (\w+)")
_DEEPEST = 8
_VALUES = {"integer": 7, "number": 7.5, "boolean": True, "null": None}


def called(text: str, offered: Iterable[str]) -> tuple[str, dict[str, Any]] | None:
    """The tool and its arguments. Tool names match regardless of case, because agents rename theirs."""
    names = {name.lower(): name for name in offered}
    # Some agents pass the prompt on inside a JSON string.
    for told in (text, text.replace('\\"', '"')):
        for match in _CALL.finditer(told):
            name = names.get(match[1].lower())
            try:
                arguments, _ = json.JSONDecoder().raw_decode(told, match.end())
            except ValueError:
                continue
            if name is not None:
                return name, arguments
    return None


def spoken(text: str) -> str:
    found = _REVERSE.search(text)
    return found[1][::-1] if found else text


def example(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A value that fits the JSON schema. Types may be written in capitals, as Gemini does."""
    root = root or schema
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return example(found, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return example(schema[name][0], root, depth + 1)
    kinds = schema.get("type")
    kind = str(kinds[0] if isinstance(kinds, list) else kinds).lower()
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        wanted = schema.get("required", list(properties))
        return {name: example(properties[name], root, depth + 1) for name in wanted if depth < _DEEPEST}
    if kind == "array":
        return [example(schema.get("items") or {"type": "string"}, root, depth + 1)] if depth < _DEEPEST else []
    return _VALUES.get(kind, "Ulm")
