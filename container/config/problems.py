"""Configuration problems, with location and remedy, and suggestions for misspelled names."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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
