"""Which configured models are available with the current environment.

A *need* is the name of an environment variable, or several alternatives joined by `|`. A deployment is on when all of
its needs are met. A model (a group of deployments) is on when at least one of its deployments is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Needs = Iterable[str]


def missing(needs: Needs, is_set: Callable[[str], bool]) -> list[str]:
    """Returns the unmet needs, in order."""
    return [need for need in needs if not any(is_set(name) for name in need.split("|"))]


def models_on(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[str]:
    """Returns the names of the models that are on, in order."""
    return [name for name, deployments in models.items() if any(not missing(needs, is_set) for needs in deployments)]


def listed(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Returns the `data` of `/model/info` when no running container can report deployment health."""
    return [
        {
            "model_name": name,
            "litellm_params": {},
            "model_info": {},
            "on": not (off := missing(needs, is_set)),
            "set": [need.replace("|", " or ") for need in off],
            "health": None,
        }
        for name, deployments in models.items()
        for needs in deployments
    ]
