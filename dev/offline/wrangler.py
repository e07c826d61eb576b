"""Reads the parts of a wrangler.jsonc that the offline edge acts on."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STRING = r'("(?:\\.|[^"\\])*")'
_COMMENT = re.compile(_STRING + r"|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(_STRING + r"|,(?=\s*[}\]])")


class WranglerConfigError(Exception):
    """The file is missing or cannot be used; the message names it and the key."""


@dataclass(frozen=True)
class WranglerConfig:
    """`bindings`: binding name -> Durable Object class; `containers`: the classes that have a container;
    `data`: globs of files that are no Python; `build`: the command to run beforehand, '' without one."""

    name: str
    main: Path
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    vars: dict[str, Any]
    bindings: dict[str, str]
    sqlite_classes: frozenset[str]
    containers: frozenset[str]
    data: tuple[str, ...] = ()
    build: str = ""

    def data_files(self) -> dict[str, Path]:
        """What travels with the Python modules and is none, by its path beside the main module."""
        root = self.main.parent
        files = [path for glob in self.data for path in sorted(root.glob(glob)) if path.is_file()]
        return {path.relative_to(root).as_posix(): path for path in files}

    def image(self, class_name: str) -> str:
        """The name under which a container engine knows the image of this class."""
        return f"{self.name}-{class_name.lower()}:dev"


def read(path: Path) -> WranglerConfig:
    """Raises WranglerConfigError."""
    try:
        raw = parse_jsonc(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WranglerConfigError(f"There is no {path}.") from None
    except json.JSONDecodeError as error:
        raise WranglerConfigError(f"{path}, line {error.lineno}: {error.msg}.") from None
    for key in ("name", "main", "compatibility_date"):
        if not isinstance(raw.get(key), str):
            raise WranglerConfigError(f'{path}: "{key}" must be a string.')
    migrations = raw.get("migrations", [])
    return WranglerConfig(
        name=raw["name"],
        main=path.parent / raw["main"],
        compatibility_date=raw["compatibility_date"],
        compatibility_flags=tuple(raw.get("compatibility_flags", [])),
        vars=raw.get("vars", {}),
        bindings={b["name"]: b["class_name"] for b in raw.get("durable_objects", {}).get("bindings", [])},
        sqlite_classes=frozenset(c for m in migrations for c in m.get("new_sqlite_classes", [])),
        containers=frozenset(c["class_name"] for c in raw.get("containers", [])),
        data=tuple(glob for rule in raw.get("rules", []) if rule.get("type") == "Data" for glob in rule["globs"]),
        build=raw.get("build", {}).get("command", ""),
    )


def parse_jsonc(text: str) -> dict[str, Any]:
    """JSON with comments and trailing commas. Comments become blanks of their length, so that line numbers hold."""
    without_comments = _COMMENT.sub(lambda m: m[1] or re.sub(r"[^\n]", " ", m[0]), text)
    return json.loads(_TRAILING_COMMA.sub(lambda m: m[1] or " ", without_comments))
