"""A YAML file as plain data that remembers on which line each value stands."""

from pathlib import Path
from typing import Any

import yaml

from .problems import ConfigError, Level, Problem

KeyPath = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_MAX_DEPTH = 50


REFERENCE = "os.environ/"


class Document:
    """`data` is the file's content; problems found in it are collected in `problems`."""

    def __init__(self, name: str, data: dict[str, Any], lines: dict[KeyPath, int]) -> None:
        self.name = name
        self.data = data
        self.problems: list[Problem] = []
        self._lines = lines

    def where(self, path: KeyPath) -> str:
        """`litellm_config.yaml:12: model_list[0].litellm_params.model`, the line of the nearest parent that exists."""
        for depth in range(len(path), -1, -1):
            line = self._lines.get(path[:depth])
            if line is not None:
                return f"{self.name}:{line}: {_dotted(path)}".rstrip(": ")
        return f"{self.name}: {_dotted(path)}".rstrip(": ")

    def report(self, level: Level, path: KeyPath, message: str, mend: str = "") -> None:
        self.problems.append(Problem(level, self.where(path), message, mend))

    def error(self, path: KeyPath, message: str, mend: str = "") -> None:
        self.report("error", path, message, mend)


def references(value: Any) -> list[str]:
    """The variables that plain data refers to, at any depth, as `os.environ/NAME`."""
    if isinstance(value, str):
        return [value[len(REFERENCE) :]] if value.startswith(REFERENCE) else []
    if isinstance(value, dict):
        value = list(value.values())
    found = [name for one in value for name in references(one)] if isinstance(value, list) else []
    return list(dict.fromkeys(found))


def read(path: Path) -> Document:
    """Reads the file. Raises ConfigError when it is not there, not YAML, or not a mapping."""
    name = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            [Problem("error", str(path), "there is no such file.", "Name your config with --config FILE.")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("error", str(path), f"cannot be read: {error}.")]) from None
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            [Problem("error", where, f"not valid YAML: {problem}.", "Check the indentation and quotes there.")]
        ) from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            [Problem("error", f"{name}:1", "the file has to be a mapping.", "Begin it with `model_list:`.")]
        )
    reading = _Reading(name)
    document = Document(name, reading.plain(node, ()), reading.lines)
    document.problems += reading.repeated
    return document


class _Reading:
    """Turns YAML's nodes into plain data, noting the line of each value. Raises ConfigError for what has no value."""

    def __init__(self, name: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.repeated: list[Problem] = []
        self._name = name
        self._loader = yaml.CSafeLoader("")

    def plain(self, node: yaml.Node, path: KeyPath, depth: int = 0) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if depth > _MAX_DEPTH:
            raise self._refusal(node, f"{_dotted(path[:3])} is nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(v, (*path, i), depth + 1) for i, v in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self._refusal(node, getattr(error, "problem", None) or str(error)) from None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode):
                    raise self._refusal(part, "what is merged has to be a mapping")
                merged = {**self.plain(part, path, depth + 1), **merged}
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            name, line = str(key.value), key.start_mark.line + 1
            key_path = (*path, name)
            if name in own:
                where = f"{self._name}:{line}: {_dotted(key_path)}"
                self.repeated.append(Problem("error", where, "stands here a second time.", "Keep one."))
            self.lines[key_path] = line
            own[name] = self.plain(value, key_path, depth + 1)
        return {**merged, **own}

    def _refusal(self, node: yaml.Node, problem: str) -> ConfigError:
        return ConfigError(
            [Problem("error", f"{self._name}:{node.start_mark.line + 1}", f"not valid YAML: {problem}.")]
        )


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
