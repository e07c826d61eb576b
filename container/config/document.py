"""A YAML file as plain data that remembers on which line each value stands."""

from pathlib import Path
from typing import Any

import yaml

from .problems import ConfigError, Level, Problem

KeyPath = tuple[str | int, ...]


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
    lines: dict[KeyPath, int] = {}
    loader = yaml.CSafeLoader("")
    repeated: list[tuple[KeyPath, int]] = []
    data = _plain(node, (), lines, loader, repeated)
    document = Document(name, data, lines)
    for key_path, line in repeated:
        document.problems.append(
            Problem("error", f"{name}:{line}: {_dotted(key_path)}", "stands here a second time.", "Keep one.")
        )
    return document


def _plain(node: yaml.Node, path: KeyPath, lines: dict, loader: Any, repeated: list, depth: int = 0) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if depth > 50:
        raise ConfigError([Problem("error", _dotted(path), "is nested too deeply.")])
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    merged = _plain(part, path, lines, loader, repeated, depth + 1)
                    result = {**merged, **result}
                continue
            key = str(key_node.value)
            key_path = (*path, key)
            if key_path in lines and key in result:
                repeated.append((key_path, key_node.start_mark.line + 1))
            lines[key_path] = key_node.start_mark.line + 1
            result[key] = _plain(value_node, key_path, lines, loader, repeated, depth + 1)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(v, (*path, i), lines, loader, repeated, depth + 1) for i, v in enumerate(node.value)]
    return loader.construct_object(node)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
