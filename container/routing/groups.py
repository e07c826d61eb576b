"""From the model a client names to the deployments that serve it: names, aliases, wildcards."""

from collections.abc import Mapping
from typing import NamedTuple

from ..config.deployment import Deployment
from ..config.load import Config


class Target(NamedTuple):
    """A deployment and the provider's name of the model to ask it for."""

    deployment: Deployment
    model: str


class Groups:
    """Resolves model names; everything that does not depend on the request is worked out once."""

    def __init__(self, config: Config) -> None:
        self._exact: dict[str, tuple[Target, ...]] = {
            name: tuple(Target(d, d.model) for d in members)
            for name, members in config.groups.items()
            if "*" not in name
        }
        self._aliases: Mapping[str, str] = config.options.model_group_alias
        # The pattern that says most about the name goes first.
        self._wildcards = sorted(
            ((*name.split("*", 1), members) for name, members in config.groups.items() if "*" in name),
            key=lambda entry: (-len(entry[0]) - len(entry[1]), entry[0]),
        )
        self.names: tuple[str, ...] = tuple(dict.fromkeys((*config.groups, *self._aliases)))
        self.members = config.groups

    def group(self, model: str) -> str:
        """The group's own name for an alias of it."""
        return self._aliases.get(model, model)

    def label(self, model: str) -> str:
        """The config's name for the group, with its `*` where it is a wildcard; "other" for a model there is not."""
        targets = self.targets(model)
        return targets[0].deployment.group if targets else "other"

    def targets(self, model: str) -> tuple[Target, ...]:
        """All deployments for the name, also those that are off; empty when there is no such model."""
        model = self._aliases.get(model, model)
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        if "\0" in model:  # which no model's name has, and no text in PostgreSQL
            return ()
        for prefix, suffix, members in self._wildcards:
            if len(model) > len(prefix) + len(suffix) and model.startswith(prefix) and model.endswith(suffix):
                filled = model[len(prefix) : len(model) - len(suffix)]
                return tuple(Target(d, d.model.replace("*", filled, 1)) for d in members)
        return ()
