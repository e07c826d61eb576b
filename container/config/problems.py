"""What is wrong with a configuration, where, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

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
