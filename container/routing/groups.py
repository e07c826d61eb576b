"""Resolves the model name of a request to deployments: names, aliases and wildcards."""

from collections.abc import Mapping
from typing import NamedTuple

from ..config.deployment import Deployment
from ..config.load import Config


class Target(NamedTuple):
    """A deployment and the model name to send to its provider."""

    deployment: Deployment
    model: str


class Groups:
    """Resolves model names. Everything that does not depend on the request is computed once."""

    def __init__(self, config: Config) -> None:
        self._exact: dict[str, tuple[Target, ...]] = {
            name: tuple(Target(d, d.model) for d in members)
            for name, members in config.groups.items()
            if "*" not in name
        }
        self._aliases: Mapping[str, str] = config.options.model_group_alias
        # The most specific pattern comes first.
        self._wildcards = sorted(
            ((*name.split("*", 1), members) for name, members in config.groups.items() if "*" in name),
            key=lambda entry: (-len(entry[0]) - len(entry[1]), entry[0]),
        )
        self.names: tuple[str, ...] = tuple(dict.fromkeys((*config.groups, *self._aliases)))
        self.members = config.groups

    def group(self, model: str) -> str:
        """Resolve an alias to the group's name."""
        return self._aliases.get(model, model)

    def label(self, model: str) -> str:
        """Return the group's name in the config, with `*` for a wildcard, or "other" for an unknown model."""
        targets = self.targets(model)
        return targets[0].deployment.group if targets else "other"

    def targets(self, model: str) -> tuple[Target, ...]:
        """Return all deployments for a name, including those that are off. Empty for an unknown model."""
        model = self._aliases.get(model, model)
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        if "\0" in model:  # no model name contains NUL, and PostgreSQL cannot store it
            return ()
        for prefix, suffix, members in self._wildcards:
            if len(model) > len(prefix) + len(suffix) and model.startswith(prefix) and model.endswith(suffix):
                filled = model[len(prefix) : len(model) - len(suffix)]
                return tuple(Target(d, d.model.replace("*", filled, 1)) for d in members)
        return ()
