"""What is wrong with a configuration, where, how to mend it, and what a misspelt name was meant to be."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_ALIKE = 0.75


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question for the message about an unknown name; `otherwise` where nothing is like it."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=_ALIKE)
    return f"Did you mean `{meant[0]}`?" if meant else otherwise


def slip(name: str, known: Iterable[str], cutoff: float = _ALIKE) -> str | None:
    """The name that was clearly meant; None for one that may be meant as it is."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=cutoff)
    return meant[0] if meant and meant[0] != name else None


Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` is `file:line: key`; an `error` stops the start, a `warning` and a `note` do not."""

    level: Level
    where: str
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.level}: {self.message}" + (f" {self.mend}" if self.mend else "")


class ConfigError(Exception):
    """A configuration that cannot be run; `problems` holds at least one error."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems if p.level == "error"))
        self.problems = problems


class CannotServe(Exception):
    """Its text says why, and what to do about it."""
