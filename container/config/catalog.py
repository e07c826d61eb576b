"""The extract of the configuration that the edge needs, written as a module that the Worker imports."""

import hashlib
import pprint
from pathlib import Path

from ..settings import VARIABLES
from . import vertex
from .load import Config, load
from .problems import ConfigError, Problem
from .providers import (
    AZURE_VERSION_VARIABLE,
    DIRECT,
    ENGINE_NEEDS,
    ENGINE_VARIABLES,
    OPTIONAL_KEYS,
)

DEFAULT_PATH = Path(__file__).parents[2] / "worker" / "catalog.py"


def catalog(config: Config) -> dict:
    """`models`: {name: [needs of each deployment]} (`worker.api.models`); `environment`: the variables the edge hands
    to the container; `hash` names the rest. Raises ConfigError for what the edge would not enforce."""
    refuse_budgets(config)
    content = {
        "models": {name: [list(d.needs) for d in members] for name, members in config.groups.items()},
        "allowed_origins": list(config.options.allowed_origins),
        "environment": environment_names(config),
    }
    return {"hash": hashlib.sha256(repr(content).encode()).hexdigest()[:16], **content}


def refuse_budgets(config: Config) -> None:
    """Raises ConfigError: the edge keeps no ledger."""
    if config.options.needs_ledger:
        message = "this config has budgets or keys, and this version enforces them standalone only, not at the edge."
        mend = "Remove them, or run the proxy standalone."
        raise ConfigError([Problem("error", f"{config.name}: litellm_settings", message, mend)])


def environment_names(config: Config) -> list[str]:
    """Every variable that the proxy or its engine may read with this config, and that the edge may hand on."""
    names = {variable.name for variable in VARIABLES if variable.edge}
    for d in config.deployments:
        names.update(name for need in d.needs for name in need.split("|"))
        direct = DIRECT.get(d.provider)
        if direct:
            names.update(direct.base_variables, direct.key_variables)
        if d.provider in OPTIONAL_KEYS:
            names.add(OPTIONAL_KEYS[d.provider])
        if d.provider == "azure":
            names.add(AZURE_VERSION_VARIABLE)
        names.update(name for need in ENGINE_NEEDS.get(d.provider, ()) for name in need.split("|"))
        if d.kind == "engine":
            names.update(ENGINE_VARIABLES)
        if d.vertex is not None:
            names.update((vertex.CREDENTIALS, *vertex.BASES, *vertex.PROJECTS, *vertex.LOCATIONS))
    return sorted(names)


def source(config: Config) -> str:
    text = pprint.pformat(catalog(config), width=116, sort_dicts=False)
    return (
        f'"""Written by `litellm-router catalog` from {config.name}: change that file, not this one."""\n\n'
        f"CATALOG = {text}\n"
    )


def write(config_path: Path, target: Path = DEFAULT_PATH) -> bool:
    """Writes the catalog of the config if it differs; says whether it did. Raises ConfigError."""
    text = source(load(Path(config_path), {}))
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return False
    target.write_text(text, encoding="utf-8")
    return True
