"""Loads the configuration: builds a `Config` from the file and the environment, or raises with every problem found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import deployment as deployments
from . import document as documents
from . import options as option_sections
from . import providers, sections
from .deployment import Deployment
from .document import IN_IMAGE, ConfigError, Problem, secrets_of, with_secrets
from .options import Options


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration.

    `deployments` keep the order of the file. `problems` contains only warnings and notes. `left_out` maps a model name
    to the problems of its `model_list` entries that cannot be used. `environment` is the process environment as
    completed by the file. `written` lists the variables that the file sets, as in `variables.Variables`. `folder` is
    the directory of the file. `document` is the content of the file and its includes, as JSON.
    """

    deployments: tuple[Deployment, ...] = ()
    options: Options = field(default_factory=Options)
    problems: tuple[Problem, ...] = ()
    name: str = "litellm_config.yaml"
    groups: Mapping[str, tuple[Deployment, ...]] = field(default_factory=dict)
    left_out: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    written: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    document: str = field(default="", repr=False, compare=False)

    @property
    def needs_engine(self) -> bool:
        """Whether any enabled deployment can only be reached through the engine."""
        return any(d.kind == "engine" and not d.off for d in self.deployments)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Loads the file. Raises ConfigError with every problem if the file cannot be run."""
    return _config(documents.read(path), environment)


def loads(name: str, text: str, environment: Mapping[str, str], own: Path) -> Config:
    """Loads a configuration from a JSON document.

    `own` is the config file in the container image. Secrets that were removed from the document are restored from it,
    if it exists (see `without_secrets`). Raises ConfigError.
    """
    document = documents.of(name, text, own.absolute().parent)
    if IN_IMAGE in text:
        known = secrets_of(documents.read(own).data) if own.exists() else {}
        document.data = with_secrets(document.data, known)
    return _config(document, environment)


def _config(document: documents.Document, environment: Mapping[str, str]) -> Config:
    text = json.dumps(document.data, default=str)
    completed = sections.complete(document, environment)
    sections.check(document)
    entries = sections.models(document, completed.environment)
    names = tuple(
        dict.fromkeys(e["model_name"] for e in entries if isinstance(e, dict) and isinstance(e.get("model_name"), str))
    )
    options = option_sections.parse(document, names, completed)
    found: list[Deployment] = []
    left_out: dict[str, tuple[Problem, ...]] = {}
    for index, entry in enumerate(entries):
        said, at = len(document.problems), ("model_list", index)
        d = deployments.parse(document, at, entry, completed.environment, options.engine_reason, completed.written)
        if d is not None:
            found.append(d)
        elif isinstance(entry, dict):
            name = str(entry.get("model_name"))
            left_out[name] = (*left_out.get(name, ()), *document.problems[said:])
    found = _limited(_unique(document, found), options)
    sections.check_tags(document, options.tag_filtering, [d.params for d in found])
    if any(providers.CREDENTIALS_VARIABLE in d.needs for d in found):
        wrong = providers.credentials_problem(completed.environment)
        document.problems += [wrong] if wrong else []
    options = replace(options, deployment_budgets={d.id: d.budget for d in found if d.budget is not None})
    for provider in options.provider_budget_config.keys() - {d.provider for d in found}:
        message = f"{provider} is the provider of no model, so its budget has no effect."
        document.report("warning", ("router_settings", "provider_budget_config"), message)
    groups: dict[str, list[Deployment]] = {}
    for d in found:
        groups.setdefault(d.group, []).append(d)
    if any(p.level == "error" for p in document.problems):
        raise ConfigError(document.problems)
    return Config(
        deployments=tuple(found),
        options=options,
        problems=tuple(document.problems),
        name=document.name,
        groups={name: tuple(members) for name, members in groups.items()},
        left_out=left_out,
        environment=completed.environment,
        written=completed.written,
        folder=document.folder,
        document=text,
    )


def _unique(document: documents.Document, found: list[Deployment]) -> list[Deployment]:
    """Makes ids unique, because health, cooldowns and the engine are keyed by id."""
    seen: set[str] = set()
    result: list[Deployment] = []
    for d in found:
        number, wanted = 1, d.id
        while wanted in seen:
            number += 1
            wanted = f"{d.id}-{number}"
        if wanted != d.id:
            message = f"the id '{d.id}' stands twice; this deployment gets '{wanted}'."
            document.report("warning", ("model_list",), message, "Give each deployment a unique id.")
        seen.add(wanted)
        result.append(d if wanted == d.id else replace(d, id=wanted))
    return result


def _limited(found: list[Deployment], options: Options) -> list[Deployment]:
    """Applies `default_max_parallel_requests` to deployments that set no limit."""
    most = options.default_max_parallel_requests
    if most is None:
        return found
    return [d if d.max_parallel_requests is not None else replace(d, max_parallel_requests=most) for d in found]
