"""Which of the configured models can be asked now, given what is set in the environment.

A *need* is the name of an environment variable, or several that serve equally, joined by `|`. A deployment is on
when each of its needs is met; a model (a group of deployments) is on when one of its deployments is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Needs = Iterable[str]


def missing(needs: Needs, is_set: Callable[[str], bool]) -> list[str]:
    """The needs that are not met, in order."""
    return [need for need in needs if not any(is_set(name) for name in need.split("|"))]


def models_on(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[str]:
    """The names, in order, of the models with a deployment that is on."""
    return [name for name, deployments in models.items() if any(not missing(needs, is_set) for needs in deployments)]


def listed(models: Mapping[str, Iterable[Needs]], is_set: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The `data` of `/model/info` where there is nobody to ask how deployments are doing."""
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
