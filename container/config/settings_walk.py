"""The settings of the three sections, one after another, with the values of variables in the place of references."""

from collections.abc import Iterator
from typing import Any

from .document import REFERENCE, Document, KeyPath, references
from .variables import Variables


class SettingsWalk:
    """`referenced`: names of the settings whose values stand in variables; `unset`: (name, variable) of those that are
    not set; `variables`: all of them, but for the master key's."""

    def __init__(self, document: Document, given: Variables) -> None:
        self.document, self.environment, self.done = document, given.environment, given.read
        self.referenced: list[str] = []
        self.unset: list[tuple[str, str]] = []
        self.variables: set[str] = set()

    def settings(self) -> Iterator[tuple[str, KeyPath, str, Any]]:
        """The section, the place, the name and the value of each that says something."""
        for section in ("router_settings", "litellm_settings", "general_settings"):
            content = self.document.data.get(section)
            if content is None:
                continue
            if not isinstance(content, dict):
                self.document.error((section,), "has to be a mapping.")
                continue
            for name, value in content.items():
                path = (section, name)
                if isinstance(value, str) and value.startswith(REFERENCE) and path not in self.done:
                    self.referenced.append(name)
                    if name != "master_key":  # it stays outside, whatever its name
                        self.variables.update(references(value))
                    variable = value[len(REFERENCE) :]
                    value = self.environment.get(variable) or None
                    if value is None and name != "master_key":
                        self.document.report("warning", path, f"{variable} is not set, so it is as if left out.")
                        self.unset.append((name, variable))
                if value is not None and path not in self.done:  # blank is as if it were not there
                    yield section, path, name, value
