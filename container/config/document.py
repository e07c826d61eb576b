"""Reads YAML into plain data with the line number of each value, and collects problems with location and remedy."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

_ALIKE = 0.75


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A suggestion for a message about an unknown name, or `otherwise` if no known name is close."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=_ALIKE)
    return f"Did you mean `{meant[0]}`?" if meant else otherwise


def slip(name: str, known: Iterable[str], cutoff: float = _ALIKE) -> str | None:
    """The known name that was probably meant, or None if the name is fine or not close to any."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=cutoff)
    return meant[0] if meant and meant[0] != name else None


Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at `where`, which is `file:line: key`. Only an `error` prevents the start."""

    level: Level
    where: str
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.level}: {self.message}" + (f" {self.mend}" if self.mend else "")


class ConfigError(Exception):
    """The configuration cannot be run. `problems` contains at least one error."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems if p.level == "error"))
        self.problems = problems


class CannotServe(Exception):
    """The proxy cannot start. The message gives the reason and the remedy."""


KeyPath = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_MAX_DEPTH = 50


REFERENCE = "os.environ/"


class Document:
    """The content of a config file, with the problems found in it. `folder` is the directory of the file."""

    def __init__(self, name: str, data: dict[str, Any], lines: dict[KeyPath, int], folder: Path = Path()) -> None:
        self.name = name
        self.folder = folder
        self.data = data
        self.problems: list[Problem] = []
        self._places = {path: f"{name}:{line}" for path, line in lines.items()}

    def where(self, path: KeyPath) -> str:
        """The location of a key, such as `litellm_config.yaml:12: model_list[0].litellm_params.model`. Falls back to
        the line of the nearest parent that exists.
        """
        for depth in range(len(path), -1, -1):
            place = self._places.get(path[:depth])
            if place is not None:
                return f"{place}: {_dotted(path)}".rstrip(": ")
        return f"{self.name}: {_dotted(path)}".rstrip(": ")

    def include(self, other: "Document") -> None:
        """Merges an included file: appends its lists, merges its mappings, and replaces other values."""
        shifts: dict[str, int] = {}
        for name, value in other.data.items():
            own = self.data.get(name)
            if isinstance(own, list) and isinstance(value, list):
                shifts[name] = len(own)
                self.data[name] = [*own, *value]
            elif isinstance(own, dict) and isinstance(value, dict):
                self.data[name] = {**own, **value}
            else:
                self.data[name] = value
        for path, place in other._places.items():
            shift = shifts.get(str(path[0]), 0) if path else 0
            if len(path) > 1 and isinstance(path[1], int):
                self._places[(path[0], path[1] + shift, *path[2:])] = place
            elif path:
                self._places.setdefault(path, place)
        self.problems += other.problems

    def report(self, level: Level, path: KeyPath, message: str, mend: str = "") -> None:
        self.problems.append(Problem(level, self.where(path), message, mend))

    def error(self, path: KeyPath, message: str, mend: str = "") -> None:
        self.report("error", path, message, mend)


def references(value: Any) -> list[str]:
    """The environment variables that the data refers to as `os.environ/NAME`, at any depth."""
    if isinstance(value, str):
        return [value[len(REFERENCE) :]] if value.startswith(REFERENCE) else []
    if isinstance(value, dict):
        value = list(value.values())
    found = [name for one in value for name in references(one)] if isinstance(value, list) else []
    return list(dict.fromkeys(found))


def resolved(value: Any, environment: Mapping[str, str]) -> Any:
    """Replaces references with the values of the variables, at any depth. An unset variable becomes None."""
    if isinstance(value, str) and value.startswith(REFERENCE):
        return environment.get(value[len(REFERENCE) :]) or None
    if isinstance(value, dict):
        return {name: resolved(one, environment) for name, one in value.items()}
    return [resolved(one, environment) for one in value] if isinstance(value, list) else value


def read(path: Path) -> Document:
    """Reads the file and the files listed in its `include`.

    As in LiteLLM, lists from an included file are appended to lists of the same name, and other values are replaced
    (https://docs.litellm.ai/docs/proxy/config_management). Raises ConfigError if a file is missing, is not YAML, or is
    not a mapping.
    """
    document = _one(path)
    pending, seen = _included(document, path), {path.resolve()}
    while pending:
        entry, beside = pending.pop(0)
        found = beside.parent / entry
        if not found.exists() and (path.parent / entry).exists():
            found = path.parent / entry
        if found.resolve() in seen:
            continue
        seen.add(found.resolve())
        other = _one(found, may_be_empty=True)
        pending += _included(other, found)
        document.include(other)
    return document


def of(name: str, text: str, folder: Path) -> Document:
    """Parses a document that was serialized as JSON, without line numbers. Raises ConfigError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError([Problem("error", name, f"not valid JSON: {error}.")]) from None
    if not isinstance(data, dict):
        raise ConfigError([Problem("error", name, "it has to be a mapping.")])
    return Document(name, data, {}, folder)


def _included(document: Document, path: Path) -> list[tuple[str, Path]]:
    names = document.data.pop("include", None)
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        document.error(("include",), "has to be a list of files.", "For example: `include: [models.yaml]`.")
        return []
    return [(name, path) for name in names]


def _one(path: Path, *, may_be_empty: bool = False) -> Document:
    name = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            [Problem("error", str(path), "there is no such file.", "Pass the path of your config with --config FILE.")]
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
    if may_be_empty and (node is None or node.tag == "tag:yaml.org,2002:null"):
        return Document(name, {}, {}, path.absolute().parent)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            [Problem("error", f"{name}:1", "the file has to be a mapping.", "Begin it with `model_list:`.")]
        )
    reading = _Reading(name)
    document = Document(name, reading.plain(node, ()), reading.lines, path.absolute().parent)
    document.problems += reading.repeated
    return document


class _Reading:
    """Converts YAML nodes to plain data and records line numbers. Raises ConfigError for a node that has no value."""

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
            before = own.get(name)
            self.lines[key_path] = line
            own[name] = self.plain(value, key_path, depth + 1)
            if before is not None:
                both = isinstance(before, dict) and isinstance(own[name], dict) and not path
                if both:  # keep a budget that is set in the first of two sections
                    own[name] = {**before, **own[name]}
                where = f"{self._name}:{line}: {_dotted(key_path)}"
                effect = "both are used." if both else "this one is used."
                self.repeated.append(Problem("warning", where, f"is defined twice; {effect}", "Remove one."))
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


# Secrets that are written in the config file itself.
#
# The Worker bundle contains the config but must not contain secrets. Each secret is replaced with a reference to the
# config file in the container image, by the hash of its value. A reference therefore survives moves within the file and
# never resolves to a different value.
#
#     {"api_key": "sk-provider"}  →  {"api_key": "os.image/8f434346648f6b96df89dda901c5176b"}

IN_IMAGE = "os.image/"
# Placeholder for a secret that the file in the image does not have. No such variable is ever set, so the deployment is
# turned off with a reason.
MISSING = "SECRET_OF_ANOTHER_CONFIG_FILE"
# Setting names that contain one of these words are secrets, unless they also match `_PLAIN_NAMES`.
_SECRET_NAMES = re.compile(r"key|secret|token|passw|credential|authorization|cookie|signature|dsn", re.IGNORECASE)
_PLAIN_NAMES = re.compile(r"cost|_per_|tokens|tokenizer|alias|keepalive", re.IGNORECASE)
# Every value in these sections is a secret.
_SECRET_SECTIONS = frozenset(("environment_variables", "extra_headers", "headers", "default_headers"))
_USER_IN_ADDRESS = re.compile(r"://[^/\s]*@")


def without_secrets(value: Any, secret: bool = False) -> Any:
    """Replaces secrets with references. If `secret` is true, every string is a secret."""
    if isinstance(value, Mapping):
        return {name: without_secrets(inner, secret or _is_secret(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner, secret) for inner in value]
    if not isinstance(value, str) or not value or value.startswith(REFERENCE):
        return value
    return IN_IMAGE + _hash(value) if secret or _USER_IN_ADDRESS.search(value) else value


def with_secrets(value: Any, known: Mapping[str, str]) -> Any:
    """Replaces references with the secrets. `known` is the result of `values`."""
    if isinstance(value, Mapping):
        return {name: with_secrets(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_secrets(inner, known) for inner in value]
    if isinstance(value, str) and value.startswith(IN_IMAGE):
        return known.get(value.removeprefix(IN_IMAGE), REFERENCE + MISSING)
    return value


def secrets_of(value: Any) -> dict[str, str]:
    """Maps the hash of each string in the config file to the string."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return {name: text for inner in value for name, text in secrets_of(inner).items()}
    return {_hash(value): value} if isinstance(value, str) else {}


def _is_secret(name: str) -> bool:
    if name in _SECRET_SECTIONS:
        return True
    return _SECRET_NAMES.search(name) is not None and not _PLAIN_NAMES.search(name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
